"""Programs, each run in a process of its own, forked from one that has imported the library."""

import functools
import os
import runpy
import shlex
import subprocess
import sys
import warnings
from multiprocessing import forkserver, get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from elegans.cli import main

IMPORTED = ["elegans.proofs.lyapunov", "elegans.solvers.fused.cpu.problem", "matplotlib.pyplot"]
"""What takes longer to import than most programs take to run."""

ALLOWED = [".*does not have many workers", ".*LeafSpec"]
"""Warnings that are Lightning's own, as in pyproject.toml."""


@functools.cache
def processes():
    """Return the context of processes that begin with what is imported, and warnings as errors."""
    forkserver.set_forkserver_preload(IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "error")
        forkserver.ensure_running()
    return get_context("forkserver")


def start(program, *arguments, folder):
    """Start a program from a folder, beside which what it writes lies in .stdout and .stderr."""
    logs = [Path(folder).with_suffix(end) for end in (".stdout", ".stderr")]
    process = processes().Process(target=_run, args=(program, arguments, folder, logs))
    process.start()
    return process


def run(program, *arguments, folder):
    """Run a program from an empty folder; return its exit code and what it wrote."""
    logs = [Path(folder).with_suffix(end) for end in (".stdout", ".stderr")]
    process = start(program, *arguments, folder=folder)
    process.join(timeout=300)
    process.kill()
    process.join()
    stdout, stderr = (log.read_text() for log in logs)
    return SimpleNamespace(returncode=process.exitcode, stdout=stdout, stderr=stderr)


def shell(call):
    """Run a command of the shell: `elegans` in this process, Python in one of its own."""
    program, *words = shlex.split(call)
    sys.stdout.flush()
    if program == "python":
        subprocess.run([sys.executable, *words], check=True)
        return
    if code := main(words):
        raise SystemExit(code)


def _run(program, arguments, folder, logs):
    for stream, log in enumerate(logs, start=1):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), stream)
    os.chdir(folder)
    for message in ALLOWED:
        warnings.filterwarnings("ignore", message)
    sys.argv = [str(program), *arguments]
    runpy.run_path(str(program), run_name="__main__")
