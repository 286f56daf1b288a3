"""Commands that train, in processes of their own: started twice, told to stop, killed."""

import contextlib
import os
import pty
import signal
import sys
import time

import numpy as np
import pytest
from fresh_process import start

import elegans.__main__
from elegans.training import RunFolder

PROGRAM = elegans.__main__.__file__
TRAIN = (
    "train waves.csv --inputs phase --targets wave --out run --units 10 --unfolds 1 --window 8 "
    "--steps 90 --batch-size 4 --evaluate-every 1 --checkpoint-every 20 --quiet "
    "--rewire.every 2 --rewire.threshold cosine --rewire.value 0.3"
)
DEMO = "demo --out run --episodes 2 --units 10 --steps 300 --drives 1 --quiet"

pytestmark = pytest.mark.slow


def make(folder):
    """Return a new folder with data in it."""
    folder.mkdir()
    rows = [f"{np.sin(angle):.5f},{np.cos(angle):.5f}" for angle in np.arange(240) / 5]
    (folder / "waves.csv").write_text("phase,wave\n" + "\n".join(rows) + "\n")
    return folder


def begin(folder, words):
    return start(PROGRAM, *words.split(), folder=folder)


def finish(process, seconds=120):
    process.join(seconds)
    assert process.exitcode is not None, f"the process did not end within {seconds} s"
    return process.exitcode


def wait_for(run, lines, terminal=None):
    end = time.monotonic() + 120
    while not (run / "metrics.jsonl").exists() or len(RunFolder(run).metrics()) < lines:
        assert time.monotonic() < end, "the training did not come that far within 120 seconds"
        if terminal is not None:  # what is written must be read, or the writer waits
            with contextlib.suppress(BlockingIOError):
                os.read(terminal, 4096)
        time.sleep(0.002)


def content(run):
    """Return what a run holds, but for the time that it took."""
    files = {str(path.relative_to(run)): path for path in run.rglob("*") if path.is_file()}
    names = {name: path.read_bytes() for name, path in files.items() if path.suffix != ".png"}
    for name in names:
        if name.endswith("training.json") or name == "metrics.jsonl":
            text = names[name].decode()
            names[name] = [part for part in text.replace(",", "\n").splitlines()
                           if "seconds" not in part]  # fmt: skip
    return names | dict.fromkeys(name for name in files if name not in names)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return what a training that nobody disturbed has left."""
    folder = make(tmp_path_factory.mktemp("undisturbed") / "place")
    assert finish(begin(folder, TRAIN)) == 0
    return content(folder / "run")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.parametrize("words", [TRAIN, DEMO], ids=["train", "demo"])
def test_signals_save_and_the_end_is_the_same(tmp_path, undisturbed, name, words):
    number = getattr(signal, name)
    folder = make(tmp_path / "stopped")
    process = begin(folder, words)
    wait_for(folder / "run", 3)
    sent = time.monotonic()
    os.kill(process.pid, number)
    assert finish(process) == 128 + number
    assert time.monotonic() - sent < 20  # of a machine that does much else
    assert "everything is saved in run" in folder.with_suffix(".stderr").read_text()
    run = RunFolder.open(folder / "run")
    assert run.checkpoints.steps()[-1] >= run.metrics()[-1]["step"]
    assert not (folder / "run" / "training.lock").exists()
    if words is TRAIN:
        assert finish(begin(folder, f"{words} --resume")) == 0
        assert content(folder / "run") == undisturbed


def test_a_terminal_that_is_closed(tmp_path):
    """What is written there is an error from then on, and must not keep the state from it."""
    folder = make(tmp_path / "terminal")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        words = TRAIN.replace("--quiet ", "").replace("--steps 90", "--steps 4000").split()
        os.execv(sys.executable, [sys.executable, "-m", "elegans", *words])
    os.set_blocking(terminal, False)
    wait_for(folder / "run", 3, terminal)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    run = RunFolder(folder / "run")
    assert run.checkpoints.steps()[-1] >= run.metrics()[-1]["step"]


def test_of_two_that_continue_one_run_one_is_refused(tmp_path, undisturbed):
    folder = make(tmp_path / "two")
    first = begin(folder, TRAIN)
    wait_for(folder / "run", 3)
    os.kill(first.pid, signal.SIGSTOP)  # or it might have ended before the others begin
    assert finish(begin(folder, TRAIN)) == finish(begin(folder, f"{TRAIN} --resume")) == 2
    assert f"process {first.pid} on" in folder.with_suffix(".stderr").read_text()
    os.kill(first.pid, signal.SIGKILL)
    finish(first)
    both = [begin(folder, f"{TRAIN} --resume") for _ in range(2)]
    assert sorted(map(finish, both)) == [0, 2]
    assert content(folder / "run") == undisturbed


def test_before_the_first_step_nothing_is_saved_and_nothing_is_lost(tmp_path, undisturbed):
    folder = make(tmp_path / "early")
    process = begin(folder, TRAIN)
    while not (folder / "run" / "config.json").exists():
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGTERM)
    assert finish(process) in (143, -signal.SIGTERM)  # it may not have come to the training yet
    assert not (folder / "run" / "training.lock").exists()
    assert finish(begin(folder, f"{TRAIN} --resume")) == 0
    assert content(folder / "run") == undisturbed
