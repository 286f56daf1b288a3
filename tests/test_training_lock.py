"""The lock of a run folder: one process trains, others are told who, and the dead are replaced."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from multiprocessing import get_context

import pytest

from elegans.errors import RunError
from elegans.training import lock
from elegans.training.lock import LOCK, Holder, refresh, training_lock

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

SPAWN = get_context("fork")
"""Quick to start; a child must not take its parent's locks for its own."""


def in_child(function, *arguments):
    process = SPAWN.Process(target=function, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def dead_holder():
    """Return a holder that was a process of this host."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        holder = replace(Holder.here(), pid=process.pid, started=lock._start_of(process.pid))
        process.kill()
    return holder


def leave(folder, holder, age=0.0):
    folder.mkdir(exist_ok=True)
    path = folder / LOCK
    path.write_bytes(holder.content())
    os.utime(path, (time.time() - age,) * 2)


def is_refused(folder):
    try:
        with training_lock(folder):
            sys.exit(0)
    except RunError as error:
        sys.exit(7 if "has been training since" in str(error) else 1)


def test_one_at_a_time(tmp_path):
    folder = tmp_path / "new" / "run"
    with training_lock(folder) as is_outermost:
        assert is_outermost
        with training_lock(folder) as is_outermost:
            assert not is_outermost
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()
        assert in_child(is_refused, folder) == 7
        with pytest.raises(RunError, match=rf"process {os.getpid()} on \S+ has been training"):
            in_thread(folder)
        assert os.listdir(folder) == [LOCK]
    assert list(tmp_path.iterdir()) == []
    assert in_child(is_refused, folder) == 0


def in_thread(folder):
    caught = []

    def take():
        try:
            with training_lock(folder):
                pass
        except RunError as error:
            caught.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    for error in caught:
        raise error


def test_a_folder_under_another_name_is_the_same(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with training_lock(tmp_path / "run"), pytest.raises(RunError, match="has been training"):
        in_thread(tmp_path / "link")
    in_thread(tmp_path / "link")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_it_is_given_back_whatever_happens(tmp_path, error):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(error), training_lock(tmp_path):
        raise error
    assert os.listdir(tmp_path) == ["mine"]


def wait(folder):
    with training_lock(folder):
        (folder / "ready").touch()
        time.sleep(60)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_it_is_given_back_on_signals(tmp_path, name):
    number = getattr(signal, name)
    process = SPAWN.Process(target=wait, args=(tmp_path,))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process.start()
    signal.signal(signal.SIGINT, before)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.join(10)
    assert process.exitcode == (1 if name == "SIGINT" else -number)
    assert os.listdir(tmp_path) == ["ready"]


def test_that_of_a_process_that_was_killed_is_replaced(tmp_path):
    process = SPAWN.Process(target=wait, args=(tmp_path,))
    process.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    with pytest.raises(RunError, match=f"process {process.pid} on"), training_lock(tmp_path):
        pass
    process.kill()
    process.join()
    with training_lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == ["ready"]


def test_a_number_that_is_used_again_is_not_the_holder(tmp_path):
    leave(tmp_path, replace(Holder.here(), pid=os.getppid(), started="1"))
    with training_lock(tmp_path):
        pass
    own = replace(Holder.here(), pid=os.getppid(), started=lock._start_of(os.getppid()))
    leave(tmp_path, own)
    with pytest.raises(RunError, match="wait for its end, stop it"), training_lock(tmp_path):
        pass
    assert (tmp_path / LOCK).read_bytes() == own.content()


def test_one_that_this_process_could_not_give_back(tmp_path):
    leave(tmp_path, Holder.here())
    with training_lock(tmp_path) as is_outermost:
        assert is_outermost


@pytest.mark.parametrize(
    ("change", "age", "message"),
    [
        ({"host": "node17"}, 0, r"process \d+ on node17 .* since 20\S+, which cannot be checked"),
        ({"host": "node17"}, 7200, "without a sign of life for 120 minutes, which cannot"),
        ({"namespace": "pid:[1]"}, 0, r"cannot be checked from here.* or delete .*training\.lock"),
        ({"boot": "another"}, 0, "cannot be checked"),
    ],
)
def test_what_cannot_be_checked_is_told(tmp_path, change, age, message):
    leave(tmp_path, replace(dead_holder(), **change), age)
    with pytest.raises(RunError, match=message), training_lock(tmp_path):
        pass
    (tmp_path / LOCK).unlink()
    with training_lock(tmp_path):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere boots have no names")
def test_one_from_before_the_host_began_anew(tmp_path):
    leave(tmp_path, replace(Holder.here(), boot="the last"), age=1e9)
    with training_lock(tmp_path) as is_outermost:
        assert is_outermost


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"pid": 1}', json.dumps({**asdict(Holder.here()), "token": "../run"})],
)
def test_a_damaged_lock_is_named(tmp_path, monkeypatch, content):
    monkeypatch.setattr(lock, "_READING", 0.1)
    (tmp_path / LOCK).write_text(content)
    message = r"training\.lock: got a lock that does not say .* delete"
    with pytest.raises(RunError, match=message), training_lock(tmp_path):
        pass


def test_a_disk_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(lock._NO_LINKS[0], "no links here")

    monkeypatch.setattr(os, "link", refuse)
    leave(tmp_path, dead_holder())
    with training_lock(tmp_path), pytest.raises(RunError, match="has been training"):
        in_thread(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="everything may be written by root")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written"), training_lock(tmp_path):
        pass


def test_signs_of_life_and_a_lock_that_was_deleted(tmp_path):
    refresh(tmp_path)  # of no lock that is held here
    assert os.listdir(tmp_path) == []
    with training_lock(tmp_path):
        path = tmp_path / LOCK
        os.utime(path, (0, 0))
        refresh(tmp_path)
        assert time.time() - path.stat().st_mtime < 60
        own = path.read_bytes()
        path.unlink()
        refresh(tmp_path)
        assert path.read_bytes() == own
        other = replace(Holder.here(), pid=os.getppid())
        path.write_bytes(other.content())
        with pytest.raises(RunError, match=f"process {other.pid} on"):
            refresh(tmp_path)
    assert path.read_bytes() == other.content()  # it is not ours to give back


def race(folder, start, wins, rounds):
    """Try to take the lock in each round, and hold it until all have tried."""
    for k in range(rounds):
        start.wait()
        try:
            with training_lock(folder / str(k)):
                with wins.get_lock():
                    wins[k] += 1
                start.wait()
        except RunError:
            start.wait()


@pytest.mark.parametrize("crash", ["dead", "dead while it recovered", "none"])
def test_one_of_many_wins(tmp_path, crash):
    """Each round is a lock whose holder is dead; those who recover it meet again and again."""
    rounds, racers = 60, 4
    context = SPAWN
    start, wins = context.Barrier(racers), context.Array("i", rounds)
    dead = dead_holder()
    for k in range(rounds):
        holder = replace(dead, token=f"{k:016x}")
        if crash != "none":
            leave(tmp_path / str(k), holder)
        if crash == "dead while it recovered":
            claim = tmp_path / str(k) / f".{LOCK}.{holder.token}"
            claim.write_bytes(replace(holder, token=f"{k + rounds:016x}").content())
    arguments = tmp_path, start, wins, rounds
    processes = [context.Process(target=race, args=arguments) for _ in range(racers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert list(wins) == [1] * rounds
    assert not list(tmp_path.rglob("*.part")) + list(tmp_path.rglob(f"*{LOCK}*"))
