"""Stop trainings as schedulers, containers and closed terminals do, and continue them.

Run ``python benchmarks/faults/signals.py``. SIGTERM, SIGHUP and SIGINT save the run; the process
ends with 128 and the number of the signal, and the continued run ends with the files of one that
was never disturbed.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from campaign import main, require
from trainings import Training, differences, undisturbed

from elegans.training.lock import LOCK

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PATIENCE = 2.0
"""Seconds in which a training that is stopped has saved itself and given its folder back."""


def campaign(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Stop `count` trainings while they train, and run them to their ends."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup trainings would ignore it, too
    draw = random.Random(seed)
    reference, _ = undisturbed(folder)
    saved: dict[str, list[float]] = {one.name: [] for one in SIGNALS}
    ended_after: dict[str, list[float]] = {one.name: [] for one in SIGNALS}
    for k in range(count):
        training, number = Training(reference.data, folder / f"training{k}"), SIGNALS[k % 3]
        last = draw.randrange(4, reference.steps() - 8)
        process = subprocess.Popen(
            [sys.executable, "-m", "elegans", *training.words()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while training.steps() < last and process.poll() is None:
            time.sleep(0.002)
        sent = time.monotonic()
        process.send_signal(number)
        while (training.folder / LOCK).exists() and process.poll() is None:
            time.sleep(0.002)
        saved[number.name].append(time.monotonic() - sent)
        _, errors = process.communicate()
        ended_after[number.name].append(time.monotonic() - sent)
        require(
            process.returncode == 128 + number and "--resume" in errors,
            f"training {k} got {number.name}, ended with {process.returncode} and said: {errors}",
        )
        ended = training.run()
        require(ended.code == 0, f"training {k} got {number.name}, then: {ended.errors}")
        different = differences(reference.folder, training.folder)
        require(not different, f"training {k} got {number.name} and differs in {different}")
    slowest, last_end = (
        {name: round(max(times), 2) for name, times in delays.items() if times}
        for delays in (saved, ended_after)
    )
    require(
        all(seconds < PATIENCE for seconds in slowest.values()),
        f"it took {slowest} seconds to save, more than {PATIENCE}",
    )
    return {
        "slowest seconds until it is saved": slowest,
        "until the process has ended": last_end,
        "trainings with other files in the end": 0,
    }


if __name__ == "__main__":
    main("signals", campaign, 30)
