"""Kill trainings at random moments and continue them: nothing may be lost.

Run ``python benchmarks/faults/kills.py``. Every training ends with the files of one that was never
disturbed, byte for byte but for what clocks say: weights, wiring, ledger, metrics, checkpoints.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from campaign import main, require
from trainings import Training, differences, undisturbed


def campaign(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill trainings `count` times, each once or more, and run them to their ends."""
    draw = random.Random(seed)
    reference, seconds = undisturbed(folder)
    kills, trainings, steps = 0, 0, []
    while kills < count:
        training = Training(reference.data, folder / f"training{trainings}")
        trainings += 1
        while kills < count and (not steps or training.steps() < reference.steps()):
            process = training.start()
            process.join(draw.uniform(0, seconds))
            if not process.is_alive():
                break  # it was faster
            process.kill()
            process.join()
            kills += 1
            steps.append(training.steps())
            if draw.random() < 0.5:
                break
        ended = training.run()
        require(ended.code == 0, f"training {trainings} of seed {seed} failed: {ended.errors}")
        different = differences(reference.folder, training.folder)
        require(not different, f"training {trainings} of seed {seed} differs in {different}")
    return {
        "trainings": trainings,
        "kills": kills,
        "kills before the first checkpoint": sum(step == 0 for step in steps),
        "kills while training": sum(0 < step < reference.steps() for step in steps),
        "kills behind the last step": sum(step == reference.steps() for step in steps),
        "trainings with other files in the end": 0,
    }


if __name__ == "__main__":
    main("kills", campaign, 50)
