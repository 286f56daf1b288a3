"""Ctrl-C while training: stop between two steps, where everything can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class TrainingStopped(KeyboardInterrupt):
    """The user stopped a training, and its state is saved; the message says how to continue."""


@contextmanager
def stop_requests(*, wanted: bool) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a request that is asked for between two steps.

    A step that is interrupted halfway could not be continued exactly. The second Ctrl-C does
    what it always does.
    """
    requested = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        requested = True
        signal.signal(signal.SIGINT, before)

    if not wanted or threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)
    if before is None:
        before = signal.SIG_DFL
    signal.signal(signal.SIGINT, request)
    try:
        yield lambda: requested
    finally:
        signal.signal(signal.SIGINT, before)
