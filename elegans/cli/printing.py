"""Tables that commands print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elegans.training import Result


def print_table(rows: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value}")


def print_files(folder: Path, names: Iterable[str]) -> None:
    """Print the folder of the results and their names."""
    print(f"\n{folder}: {', '.join(names)}")


def rollback_rows(result: Result) -> dict[str, str]:
    """Return the row of a table that tells of rollbacks, none where there were none."""
    if not result.rollbacks:
        return {}
    steps = ", ".join(str(rollback["step"]) for rollback in result.rollbacks)
    return {"rolled back": f"from step {steps}, each time to half the learning rate"}
