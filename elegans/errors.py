"""The one tree of exceptions: every error raised on purpose derives from `ElegansError`.

This file stands under every floor of the library and imports nothing, so that the wiring and
the solvers, which know nothing of each other, can share it. Each class has a standard exception
as its second base: code that catches `ValueError` goes on working.

A message says what was got, what was expected, and the usual remedy.
"""


class ElegansError(Exception):
    """Base of every error that the library raises on purpose."""


class WiringError(ElegansError, ValueError):
    """A wiring, an edit of one, or a file holding one is not valid."""


class SolverError(ElegansError, ValueError):
    """A solver or a system it should integrate is not valid."""


class SolveError(ElegansError, ArithmeticError):
    """An integration failed or left the finite numbers; the message names time, step and neuron."""


class InputError(ElegansError, ValueError):
    """A tensor or an argument given to a layer has the wrong shape, type or values."""


class PruningError(ElegansError, ValueError):
    """A pruning rule cannot be applied as asked."""


class DataError(ElegansError, ValueError):
    """A table or file of training data is not valid."""


class RunError(ElegansError, RuntimeError):
    """A run folder is missing, occupied, damaged or does not match."""


class MissingExtraError(ElegansError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""
