"""Packages whose names are imported when they are first used.

The imports under ``if TYPE_CHECKING:`` of the package are the one list of its names: type checkers
read it, and `attach` reads it at run time.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def attach(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` for `package`.

    Parameters
    ----------
    package
        ``__name__`` of the package. Each of its imports under ``if TYPE_CHECKING:`` reads ``from
        module import name as name``; where the module is the package itself, ``name`` is one of
        its sub-packages and is not part of ``__all__``.

    Examples
    --------
    >>> import elegans
    >>> getattribute, directory, names = attach("elegans")
    >>> getattribute("LTC") is elegans.LTC, "LTC" in names, "wiring" in directory()
    (True, True, True)
    """
    spec = find_spec(package) if package not in sys.modules else sys.modules[package].__spec__
    source = getattr(spec.loader, "get_source", lambda name: None)(package) if spec else None
    if source is None:
        raise ImportError(f"the source of {package} is needed to know what it hands on")
    homes: dict[str, str] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            imports = [n for n in node.body if isinstance(n, ast.ImportFrom)]
            homes |= {alias.name: str(n.module) for n in imports for alias in n.names}
    names = sorted(name for name, home in homes.items() if home != package)

    def getattribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if homes[name] == package:
            return import_module(f"{package}.{name}")
        return getattr(import_module(homes[name]), name)

    return getattribute, lambda: sorted(homes), names
