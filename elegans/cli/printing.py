"""Tables that commands print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def print_table(rows: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value}")


def print_files(folder: Path, names: Iterable[str]) -> None:
    """Print the folder of the results and their names."""
    print(f"\n{folder}: {', '.join(names)}")
