"""Circuits as pages for the browser, in which they run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from elegans.arguments import checked, shown
from elegans.control.policy import Policy
from elegans.data.sequences import Sequence as Recording
from elegans.errors import InputError
from elegans.export.files import ExportedFiles
from elegans.export.javascript import as_plain, in_script, rounded, runtime
from elegans.export.picture import picture_of
from elegans.export.portable import Model, Portable, portable
from elegans.export.replay import History, replayed
from elegans.export.statement import junction_count, step_factor
from elegans.proofs.certificates.certificate import Certificate
from elegans.proofs.verify import at_least, at_most

CARTPOLE = {
    "gravity": 9.8,
    "cart_mass": 1.0,
    "pole_mass": 0.1,
    "half_length": 0.5,
    "force": 10.0,
    "step": 0.02,
    "position": 2.4,
    "angle": 12 * 2 * np.pi / 360,
    "start": 0.05,
    "max_steps": 500,
}
"""Constants of Gymnasium's CartPole-v1, which the tests compare with the simulator."""

MOST_NEURONS = 2000
MOST_STEPS = 1000
"""Of a sequence; the beginning of a longer one is played."""

MOST_SEQUENCES = 6
MOST_NUMBERS = 60_000
"""Of all sequences together."""

_SCRIPTS = (
    "spectrum.js",
    "canvas.js",
    "drawing.js",
    "plotting.js",
    "cartpole.js",
    "recording.js",
    "by_hand.js",
    "history.js",
    "page.js",
)
_DIGITS = 7

Drive = Literal["hand", "cartpole"] | Sequence[Recording]


@checked(InputError)
def page(
    model: Model,
    *,
    drive: Drive = "hand",
    title: str = "A liquid circuit",
    name: str = "play",
    elapsed: float | None = None,
    certificate: Certificate | None = None,
    history: History | None = None,
    source: str = "",
    time_unit: str = "step",
    seconds: float | None = None,
) -> ExportedFiles:
    """Return a page for the browser in which a circuit runs, one file that needs no network.

    Neurons are lit by their potentials, synapses by their conductances; a click silences either.
    The eigenvalues of the circuit's Jacobian are shown as they move.

    Parameters
    ----------
    model
        A layer, with a `Readout` or without, or a policy, which has the units of its data.
    drive
        What the circuit is given. ``"hand"``: a slider or a wave for each input. ``"cartpole"``:
        the cart and pole of CartPole-v1, which a policy balances from position and angle, or from
        all four observations. Sequences of `elegans.data`, in the units of the data: these and
        what was measured, beside what the circuit answers; the first are kept, shortened.
    title
        Of the page.
    name
        Of the file, without its suffix.
    elapsed
        Length of a step in the unit of the data; by default what counts as 1 for the layer.
        Sequences have their own.
    certificate
        A proof about this circuit, which the page states.
    history
        The wiring before training and the ledger of prune-and-rewire, to be replayed.
    source
        Where the sequences come from, in a few words that stand below the title.
    time_unit
        Name of the unit that rates and time constants are in: what counts as 1 for the layer.
    seconds
        Its length in seconds, where it is known.

    Raises
    ------
    InputError
        The circuit cannot be exported (see `elegans.export.portable`) or has too many neurons; or
        the drive has other numbers of inputs or outputs.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> exported = page(elegans.LTC(2, AutoNCP(12, 1, seed=0)), title="Twelve neurons")
    >>> list(exported.files), "<title>Twelve neurons</title>" in exported.text("play.html")
    (['play.html'], True)
    """
    _check(name, title, source or "-", time_unit, elapsed, seconds)
    policy = model if isinstance(model, Policy) else Policy(model)
    circuit = portable(policy, elapsed=elapsed, certificate=certificate)
    if circuit.state_size > MOST_NEURONS:
        raise InputError(
            f"got a circuit of {circuit.state_size:,} neurons, expected at most {MOST_NEURONS:,}, "
            "which a browser can draw; export it with elegans.export.js and draw what matters"
        )
    document = {
        "circuit": as_plain(circuit),
        "picture": picture_of(circuit),
        "drive": _driven(circuit, policy, drive),
        "certificate": _stated(circuit),
        "history": None if history is None else replayed(history, circuit.wiring),
        "time": {"unit": time_unit, "seconds": seconds},
    }
    described = " · ".join([*_described(circuit), *([source] if source else [])])
    text = _assembled(title, described, document)
    summary = f"A page of {len(text.encode()) / 1e3:.0f} kB that needs no network."
    return ExportedFiles({f"{name}.html": text.encode()}, summary)


def _check(name: Any, title: Any, source: Any, time_unit: Any, elapsed: Any, seconds: Any) -> None:
    texts = {"name": name, "title": title, "source": source, "time_unit": time_unit}
    for what, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"got {what}={shown(text)}, expected a text that is not empty")
    if Path(name).name != name:
        raise InputError(
            f"got name={shown(name)}, expected the name of a file without a folder; save() takes "
            "the folder"
        )
    for what, number in (("elapsed", elapsed), ("seconds", seconds)):
        real = isinstance(number, int | float) and not isinstance(number, bool)
        if number is not None and not (real and 0 < number < np.inf):
            raise InputError(
                f"got {what}={shown(number)}, expected a finite number above 0, or None where it "
                "is not known"
            )


def _described(circuit: Portable) -> list[str]:
    """Return what the circuit is, in a few words each."""
    kinds = {
        "liquid": "liquid time-constant circuit",
        "rates": "continuous-time circuit",
        "closed_form": "closed-form circuit",
        "dense_closed_form": "dense closed-form circuit",
    }
    count = sum(
        len(synapses)
        for name, synapses in circuit.step.synapses.items()
        if name in ("recurrent", "sensory")
    )
    neurons = f"{circuit.state_size} neuron{'s' * (circuit.state_size != 1)}"
    told = [kinds[circuit.step.equation], neurons]
    told += [f"{count} synapses"] if circuit.step.synapses else []
    junctions = junction_count(circuit)
    return [*told, f"{junctions} gap junction{'s' * (junctions != 1)}"] if junctions else told


def _driven(circuit: Portable, policy: Policy, drive: Any) -> dict[str, Any]:
    inputs, outputs = len(circuit.input_names), len(circuit.output_names)
    if isinstance(drive, str) and drive == "hand":
        lo, hi = _ends(circuit, policy)
        return {"kind": "hand", "low": lo.tolist(), "high": hi.tolist()}
    if isinstance(drive, str) and drive == "cartpole":
        if inputs not in (2, 4) or outputs != 1:
            raise InputError(
                f"got a circuit of {inputs} inputs and {outputs} outputs for the cart and pole, "
                "expected position and angle (2 inputs) or all observations (4), and one output; "
                "pass drive='hand'"
            )
        return {"kind": "cartpole", "plant": CARTPOLE}
    listed = [] if isinstance(drive, str) else list(drive)
    if not listed or not all(isinstance(each, Recording) for each in listed):
        raise InputError(
            f"got drive={drive if isinstance(drive, str) else type(drive).__name__!r}, expected "
            "'hand', 'cartpole' or sequences of elegans.data, at least one"
        )
    for one in listed:
        sizes = one.inputs.shape[1], one.targets.shape[1]
        if sizes != (inputs, outputs):
            raise InputError(
                f"got sequence {one.name!r} of {sizes[0]} inputs and {sizes[1]} targets, expected "
                f"{inputs} and {outputs} as the circuit has; pass those it was trained on"
            )
    return {
        "kind": "recording",
        "classes": list(policy.classes),
        "sequences": _shortened(listed),
        "of": len(listed),
    }


def _ends(circuit: Portable, policy: Policy) -> tuple[Any, Any]:
    """Return least and greatest input of the sliders, in the units of the data."""
    if circuit.certified is not None:
        return circuit.certified
    hi = np.full(len(circuit.input_names), 2.0)
    lo = -hi
    if policy.scales is None:
        return lo, hi
    return policy.scales.inputs.invert(lo), policy.scales.inputs.invert(hi)


def _shortened(sequences: Sequence[Recording]) -> list[dict[str, Any]]:
    """Return the first sequences as plain values, as many as there is room for."""
    plain: list[dict[str, Any]] = []
    left = MOST_NUMBERS
    for one in sequences[:MOST_SEQUENCES]:
        width = one.inputs.shape[1] + one.targets.shape[1] + 1
        kept = min(len(one), MOST_STEPS, left // width)
        if plain and kept < min(len(one), 2):
            break
        kept = max(kept, 1)
        left -= kept * width
        part = one[:kept]
        targets = part.targets.tolist()
        plain.append(
            {
                "name": one.name,
                "steps": len(one),
                "inputs": part.inputs.tolist(),
                "targets": [[None if y != y else y for y in row] for row in targets],
                "elapsed": part.elapsed.tolist(),
            }
        )
    return plain


def _stated(circuit: Portable) -> dict[str, Any] | None:
    """Return what is proved, with the inputs in the units of the data."""
    certificate = circuit.certificate
    if certificate is None or circuit.certified is None:
        return None
    low, high = circuit.certified
    factor = step_factor(circuit)
    return {
        "rate": float(at_least(certificate.rate, _DIGITS)),
        "level": certificate.level,
        "attracts": certificate.attracts,
        "step": None if factor is None else float(at_most(factor, _DIGITS)),
        "low": [float(at_most(end, _DIGITS)) for end in low],
        "high": [float(at_least(end, _DIGITS)) for end in high],
    }


def _assembled(title: str, described: str, document: dict[str, Any]) -> str:
    import elegans

    parts = {
        "title": escape(title),
        "described": escape(described),
        "version": escape(elegans.__version__),
        "style": _source("page.css"),
        "document": in_script(rounded(document, _DIGITS)),
        "script": "\n".join([runtime(), *map(_source, _SCRIPTS)]),
    }
    return re.sub(r"\{\{ ([a-z]+) \}\}", lambda found: parts[found[1]], _source("page.html"))


@cache
def _source(name: str) -> str:
    return files("elegans.export").joinpath("web", name).read_text(encoding="utf-8")
