"""Entry point of the shell, which runs a command and prints user errors in one line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, TextIO

import tyro

import elegans
from elegans.cli.commands import (
    Demo,
    Draw,
    Evaluate,
    Export,
    Inspect,
    Play,
    Predict,
    Report,
    Train,
)
from elegans.errors import ElegansError

_Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Draw, tyro.conf.subcommand("draw")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Play, tyro.conf.subcommand("play")]
    | Annotated[Export, tyro.conf.subcommand("export")]
)
_DESCRIPTION = "Liquid neural circuits that rewire themselves while they learn."

SIGNALLED = 128
"""Added to the number of the signal that stopped a training."""
CLOSED = 141
WRONG = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0; 2 for a user's error; 130 after Ctrl-C, 143 and 129 for a training that SIGTERM or SIGHUP has
    stopped; 141 where nobody reads the output any more.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process by default.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv == ["--version"]:
        print(f"elegans {elegans.__version__}")
        return 0
    try:
        command = tyro.cli(
            _Command,
            prog="elegans",
            description=_DESCRIPTION,
            args=argv,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        run = import_module(f"elegans.cli.{type(command).__name__.lower()}").run
        if getattr(command, "quiet", False):
            run(command)
        else:
            with import_module("elegans.data.metered").reading_shown():
                run(command)
    except ElegansError as error:
        print(f"elegans: error: {_one_line(error)}", file=sys.stderr)
        return WRONG
    except BrokenPipeError:  # whoever read the output has seen enough
        _close(sys.stdout)
        return CLOSED
    except KeyboardInterrupt as stop:
        try:
            print(f"elegans: {_one_line(stop) or 'stopped'}", file=sys.stderr, flush=True)
        except OSError:  # the terminal is closed
            _close(sys.stderr)
        return SIGNALLED + getattr(stop, "signal", signal.SIGINT)
    return 0


def _close(stream: TextIO) -> None:
    """Let go to nowhere what nobody reads; what is left unwritten would be an error at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
