"""Damage files and saved states at random: each is read, or refused by an error of the library.

Run ``python benchmarks/faults/fuzz.py``. The readers and the ways of damage are those of the tests
(``tests/damaged_files.py`` and ``tests/damaged_states.py``). A case may take 20 seconds and
six GiB.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import damaged_files
import damaged_states
from campaign import main, require

SECONDS = 20
MEMORY = 6 * 2**30
CASES = 250
"""Cases of a turn of one process."""


class TooLongError(BaseException):
    """A case has taken more time than it may; no handler of `Exception` catches this."""


def _limits() -> None:
    for name in damaged_files.READERS:
        damaged_files.whole(name)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")

    def stop(number: int, frame: object) -> None:
        raise TooLongError

    signal.signal(signal.SIGALRM, stop)


def turn(kind: str, name: str, seeds: range) -> tuple[Counter[str], list[str]]:
    """Try some cases; return what came of them, and the seeds of those that were not borne."""
    outcomes: Counter[str] = Counter()
    broken = []
    for seed in seeds:
        signal.alarm(SECONDS)
        try:
            if kind == "file":
                content = damaged_files.damaged(name, seed)
                with tempfile.TemporaryDirectory() as folder:
                    refused = damaged_files.attempt(name, content, Path(folder)) is not None
                outcomes["refused" if refused else "read"] += 1
            else:
                wrong = damaged_states.attempt(name, seed)
                outcomes["states read or refused"] += wrong is None
                broken += [f"{name}, seed {seed}: {wrong}"] if wrong else []
        except BaseException as error:
            broken.append(f"{name}, seed {seed}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.alarm(0)
    return outcomes, broken


def campaign(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Try `count` damaged inputs, spread evenly over all readers."""
    readers = [("file", name) for name in damaged_files.READERS]
    readers += [("state", name) for name in damaged_states.DOORS]
    for name, reader in damaged_files.READERS.items():  # kernels are compiled here, for all
        content = damaged_files.whole(name)[reader.file]
        refused = damaged_files.attempt(name, content, folder / name)
        require(refused is None, f"{name}: the whole file is refused ({refused})")
    for make, load in damaged_states.DOORS.values():
        load(*make())
    each = -(-count // len(readers))
    turns = [
        (kind, name, range(begin, min(begin + CASES, (seed + 1) * each)))
        for kind, name in readers
        for begin in range(seed * each, (seed + 1) * each, CASES)
    ]
    outcomes: Counter[str] = Counter()
    broken: list[str] = []
    with multiprocessing.get_context("spawn").Pool(initializer=_limits) as pool:
        for seen, wrong in pool.starmap(turn, turns, chunksize=1):
            outcomes += seen
            broken += wrong
    told = "\n".join(broken[:50])
    require(not broken, f"{len(broken)} of {each * len(readers)} cases were not borne:\n{told}")
    return {
        "readers": sum(kind == "file" for kind, _ in readers),
        "doors of states": sum(kind == "state" for kind, _ in readers),
        "inputs": each * len(readers),
        **dict(sorted(outcomes.items())),
        "foreign exceptions": len(broken),
    }


if __name__ == "__main__":
    main("damaged inputs", campaign, 100_000)
