"""Ctrl-C, sent by a test to itself."""

import signal
import time


def interrupt():
    """Raise SIGINT and return when the present handler has given way to another.

    A signal is handled at the interpreter's leisure; raised again before that, two become one. If
    Python's own handler is the present one, KeyboardInterrupt ends the wait.
    """
    present = signal.getsignal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    end = time.monotonic() + 30
    while signal.getsignal(signal.SIGINT) is present:
        assert time.monotonic() < end, "the interrupt was not handled within 30 seconds"
        time.sleep(0.001)
