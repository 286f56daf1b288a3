"""Ctrl-C and its like, sent by a test to itself."""

import signal
import time


def interrupt(number=signal.SIGINT):
    """Raise a signal and return when the present handler has given way to another.

    A signal is handled at the interpreter's leisure; raised again before that, two become one. If
    Python's own handler is the present one, KeyboardInterrupt ends the wait.
    """
    present = signal.getsignal(number)
    signal.raise_signal(number)
    end = time.monotonic() + 30
    while signal.getsignal(number) is present:
        assert time.monotonic() < end, "the interrupt was not handled within 30 seconds"
        time.sleep(0.001)
