"""What a run that is continued must share with its beginning: settings, circuit and scales."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from elegans.data.scale import Scales
from elegans.errors import RunError
from elegans.training.config import TrainingConfig
from elegans.wiring import Wiring

_RESTORE = "restore the file, or start the run again in another folder"


def require_same_settings(
    folder: Path, begun: dict[str, Any], asked: dict[str, Any], names: Iterable[str]
) -> None:
    """Raise `RunError` unless two contents of `config.json` have the same values of `names`.

    The training may have more steps.
    """
    training, before = asked.get("training"), begun.get("training")
    if isinstance(training, dict) and isinstance(before, dict):
        # Settings that there were not yet when the run was begun had the value of today.
        usual = asdict(TrainingConfig())
        before = {k: usual[k] for k in training if k in usual} | before
        begun["training"] = before
        if training.get("steps", 0) > before["steps"]:
            training["steps"] = before["steps"]
    for name in names:
        different = _difference(name, begun.get(name), asked[name])
        if different is not None:
            field, was, now = different
            raise RunError(
                f"{folder}: got {field} = {now!r}, expected {was!r}, with which the run was begun "
                "or extended; repeat its command with --resume, or choose another folder"
            )


def require_same_circuit(path: Path, wiring: Wiring, own: Wiring) -> None:
    """Raise `RunError` unless the wiring in a file has as many neurons as that of the layer."""
    sizes = wiring.input_size, wiring.units
    if sizes != (own.input_size, own.units):
        raise RunError(
            f"{path}: got a circuit of {sizes[0]} inputs and {sizes[1]} neurons, expected "
            f"{own.input_size} and {own.units} as in the layer; {_RESTORE}"
        )


def require_same_scales(path: Path, begun: Scales, scales: Scales | None) -> None:
    """Raise `RunError` unless the scales in a file are those of the data, where there are any."""
    if scales is not None and not _are_close(begun, scales):
        raise RunError(
            f"{path}: got other scales than those of the data, expected the ones with which the "
            f"run was begun; {_RESTORE}"
        )


def _are_close(scales: Scales, others: Scales) -> bool:
    """Whether two scales are the same, but for what another machine rounds otherwise."""
    pairs = [(scales.elapsed, others.elapsed)]
    for one, other in ((scales.inputs, others.inputs), (scales.targets, others.targets)):
        if len(one.origin) != len(other.origin):
            return False
        pairs += [*zip(one.unit, other.unit, strict=True), (one.offset, other.offset)]
        # An origin is as exact as the unit beside it.
        pairs += zip(one.origin / one.unit, other.origin / other.unit, strict=True)
    return all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6) for a, b in pairs)


def _difference(name: str, was: Any, now: Any) -> tuple[str, Any, Any] | None:
    """Return the first field in which two plain values differ, with both."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*was, *now)):
            different = _difference(f"{name}.{key}", was.get(key), now.get(key))
            if different is not None:
                return different
        return None
    return None if was == now else (name, was, now)
