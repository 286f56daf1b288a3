"""Data sets of the hawkmoth on disk: one npz file with the rows and their settings."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from elegans.data.npz_file import NpzArchive
from elegans.errors import DataError, InputError, RunError
from elegans.files import parse_json, validated, writing
from elegans.replications.hawkmoth.body import Moth
from elegans.replications.hawkmoth.trajectories import INPUTS, OUTPUTS, Ranges, Trajectories

FORMAT = "elegans.hawkmoth"
VERSION = 1
_REMEDY = "pass a file that save_trajectories has written"


@dataclass(frozen=True)
class _About:
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    moth: dict[str, int | float]
    ranges: dict[str, tuple[float, float]]
    duration: float
    seed: int


def save_trajectories(data: Trajectories, path: str | os.PathLike[str]) -> None:
    """Write a data set; an old file stays as it was until the new one is complete.

    Parameters
    ----------
    data
        The rows; moth, ranges, duration and seed are written with them.
    path
        The file, by custom ending in .npz.

    Raises
    ------
    RunError
        When the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from elegans.replications.hawkmoth.trajectories import sample
    >>> data = sample(10, seed=0, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_trajectories(data, f"{folder}/moths.npz")
    ...     again = load_trajectories(f"{folder}/moths.npz")
    >>> bool((again.inputs == data.inputs).all()), again.moth == data.moth
    (True, True)
    """
    about = {
        "format": FORMAT,
        "version": VERSION,
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "moth": asdict(data.moth),
        "ranges": asdict(data.ranges),
        "duration": data.duration,
        "seed": data.seed,
    }
    place = Path(path)
    with writing(place):
        place = Path(os.path.realpath(place))  # through a link, to the file that is meant
        beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
        try:
            with beside.open("xb") as file:  # rows go out as they are: no copy of them in memory
                np.savez(
                    file, about=np.array(json.dumps(about)), inputs=data.inputs,
                    outputs=data.outputs,
                )  # fmt: skip
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, place)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def load_trajectories(path: str | os.PathLike[str]) -> Trajectories:
    """Return the data set that `save_trajectories` has written; nothing is unpickled.

    Raises
    ------
    DataError
        When the file is missing, damaged, something else, or of a newer format.
    """
    path = Path(path)
    try:
        with NpzArchive(path) as file:
            arrays = {name: file.read(name) for name in ("about", "inputs", "outputs")}
    except DataError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise DataError(
            f"{path}: got a damaged or other file ({error}), expected a data set of the hawkmoth; "
            f"{_REMEDY}"
        ) from error
    try:
        about = parse_json(str(arrays["about"]))
        form, version = about["format"], about["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: got a file that does not say what it holds, expected a data set of the "
            f"hawkmoth; {_REMEDY}"
        ) from error
    if form != FORMAT or version != VERSION:
        raise DataError(
            f"{path}: got the format {form!r}, version {version!r}, expected {FORMAT!r}, version "
            f"{VERSION}; {_REMEDY}, or update elegans"
        )
    try:
        plain = validated(about, _About, "the settings in it", _REMEDY)
        if (plain.inputs, plain.outputs) != (INPUTS, OUTPUTS):
            raise DataError("its columns are in another order")
        return Trajectories(
            arrays["inputs"],
            arrays["outputs"],
            Moth(**plain.moth),
            Ranges(**plain.ranges),
            plain.duration,
            plain.seed,
        )
    except (DataError, InputError, RunError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path}: got a damaged data set ({error}), expected a whole one; {_REMEDY}"
        ) from error
