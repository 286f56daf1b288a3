"""Kill trainings just before chosen operations on files and continue them: nothing may be lost.

Run ``python benchmarks/faults/file_operations.py``. The operations on files in the run folder
(open, rename, remove, make and remove a folder) are counted by an audit hook; the process kills
itself before the one that was drawn.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

from campaign import main, require
from trainings import PROGRAM, Training, differences, undisturbed

WATCHED = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")

COUNTING = """
import os, signal, sys
folder, last, log = {folder!r}, {last!r}, {log!r}
seen = []

def watch(event, arguments):
    if event in {watched!r} and any(str(one).startswith(folder) for one in arguments):
        seen.append(event)
        if len(seen) == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
import atexit
atexit.register(lambda: print(*seen, file=open(log, "w")))
"""


def program(folder: Path, log: Path, last: int | None) -> str:
    """Return a program that kills itself before an operation, or writes down all there are."""
    counting = COUNTING.format(folder=str(folder), last=last, log=str(log), watched=WATCHED)
    return counting + PROGRAM


def campaign(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill `count` trainings, each before another operation, and run them to their ends."""
    draw = random.Random(seed)
    reference, _ = undisturbed(folder)
    counted, log = Training(reference.data, folder / "counted"), folder / "operations"
    Training(counted.data, counted.folder, program(counted.folder, log, None)).run()
    operations = log.read_text().split()
    require(len(operations) > 0, "no operation on files was seen")
    which = sorted(draw.sample(range(1, len(operations) + 1), min(count, len(operations))))
    for k in which:
        training = Training(reference.data, folder / f"training{k}")
        doomed = Training(training.data, training.folder, program(training.folder, log, k))
        require(doomed.run().code == -9, f"the process lived through operation {k}")
        ended = training.run()
        require(ended.code == 0, f"killed before operation {k}, then: {ended.errors}")
        different = differences(reference.folder, training.folder)
        require(not different, f"killed before operation {k}, it differs in {different}")
    killed = Counter(operations[k - 1] for k in which)
    return {
        "operations of a training": len(operations),
        "killed before": dict(killed.most_common()),
        "trainings with other files in the end": 0,
    }


if __name__ == "__main__":
    main("file operations", campaign, 150)
