"""A training that is killed at any call that changes the disk, and continued, ends alike."""

import json
import os
import shutil
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
from test_training_trainer import CONFIG, TRAIN, VALIDATION, begin, circuit

from elegans import backend
from elegans.training import RunFolder, fit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

KILLED, DONE = 9, 0


def content(folder):
    """Return what a folder holds, but for times."""
    read = {}
    for path in sorted(folder.rglob("*")):
        name, is_file = str(path.relative_to(folder)), path.is_file()
        read[name] = path.read_bytes() if is_file else None
        if name.endswith("training.json"):
            read[name] = json.loads(read[name]) | {"seconds": None}
        if name == "metrics.jsonl":
            read[name] = [json.loads(line) | {"seconds": None} for line in read[name].splitlines()]
    return read


def training(folder, config, moment, resume):
    """Train in this process, which ends without another word at the n-th call."""
    left = moment

    def dying(function):
        def call(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(KILLED)
            return function(*arguments, **options)

        return call

    torch.set_num_threads(1)
    if moment is not None:
        for name in ("fsync", "replace", "link", "unlink", "rmdir", "mkdir", "truncate", "utime"):
            setattr(os, name, dying(getattr(os, name)))
    with backend("reference"):
        run = RunFolder(folder) if resume else begin(folder)
        fit(circuit(), TRAIN, VALIDATION, config, run=run, resume=resume, progress=False)


def in_child(*arguments):
    process = get_context("fork").Process(target=training, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


@pytest.mark.parametrize("steps", [5, 6])
def test_killed_at_any_moment(tmp_path, steps):
    config = replace(CONFIG, steps=steps, evaluate_every=2, checkpoint_every=2,
                     rewire=replace(CONFIG.rewire, every=1, until=1.0))  # fmt: skip
    threads = torch.get_num_threads()
    training(tmp_path / "whole", config, None, False)  # here, so that children import nothing
    torch.set_num_threads(threads)
    whole, moment, parts = content(tmp_path / "whole"), 0, tmp_path / "parts"
    assert len(whole["ledger.jsonl"]) > 0
    begin(tmp_path / "begun")
    while True:
        shutil.rmtree(parts, ignore_errors=True)
        shutil.copytree(tmp_path / "begun", parts)
        code = in_child(parts, config, moment, True)
        if code == DONE:
            break
        assert code == KILLED
        assert in_child(parts, config, None, True) == DONE
        assert content(parts) == whole, moment
        moment += 1
    assert moment > 50
