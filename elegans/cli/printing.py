"""Tables that commands print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def print_table(rows: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value}")


def error_text(error: float, unit: float) -> str:
    """Return a mean squared error, and the same relative to the target's spread in training.

    The `unit` of a target that was constant in training is 1, so nothing is said of its variance.
    """
    return f"mean squared error {error:.6g}, {error / unit**2:.4g} in the scaled units of training"


def print_files(folder: Path, names: Iterable[str]) -> None:
    """Print the folder of the results and their names."""
    print(f"\n{folder}: {', '.join(names)}")
