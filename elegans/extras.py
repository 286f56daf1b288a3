"""Loading optional packages at the moment they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from elegans.errors import MissingExtraError


def require_extra(module: str, extra: str) -> ModuleType:
    """Import and return an optional package.

    Parameters
    ----------
    module
        The import name, such as ``"gymnasium"``.
    extra
        The extra of this library that installs it, such as ``"control"``.

    Raises
    ------
    MissingExtraError
        When the package is not installed. A package that is installed but broken raises its own
        error, which installing the extra again would not cure.

    Examples
    --------
    >>> require_extra("json", "control").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"got no package {module!r} in this environment, expected it for this; install "
            f"it with: pip install elegans[{extra}]"
        ) from error
