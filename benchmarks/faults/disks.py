"""Train on disks that are too small, make room, and continue: nothing may be lost.

Run ``python benchmarks/faults/disks.py`` as root on Linux, for it mounts disks in memory. A full
disk is told in one line, and the training continued on the larger disk ends with the files of one
that was never disturbed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from campaign import main, require
from trainings import WRONG, Training, differences, undisturbed

PAGE = 4096


def mount(place: Path, *options: str) -> None:
    """Mount a disk in memory, or change its size."""
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
    subprocess.run(command, check=True)


def campaign(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Train on disks of `count` sizes from a page to what the whole run takes."""
    reference, _ = undisturbed(folder)
    sizes = [path.stat().st_size for path in reference.folder.rglob("*") if path.is_file()]
    most = sum(-(-size // PAGE) for size in sizes)
    full, nothing_lost = 0, 0
    for k in range(count):
        pages = 1 + round(k * (most - 2) / max(1, count - 1))
        disk = folder / f"disk{k}"
        disk.mkdir()
        mount(disk, f"size={pages * PAGE}")
        try:
            training = Training(reference.data, disk / "run")
            ended = training.run()
            told = ended.errors.strip().splitlines()
            require(
                ended.code == WRONG and len(told) == 1 and "cannot be written" in told[0],
                f"on {pages} pages it ended with {ended.code} and said: {ended.errors}",
            )
            full += 1
            mount(disk, "remount", "size=64m")
            ended = training.run()
            require(ended.code == 0, f"after {pages} pages, with room: {ended.errors}")
            different = differences(reference.folder, training.folder)
            require(not different, f"after {pages} pages it differs in {different}")
            nothing_lost += 1
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return {
        "pages of the disks": f"1 to {most - 1}",
        "full disks told in one line": full,
        "trainings with other files in the end": full - nothing_lost,
    }


def may_mount() -> bool:
    """Whether this process may mount a disk."""
    return os.name == "posix" and os.geteuid() == 0


if __name__ == "__main__":
    main("full disks", campaign, 19)
