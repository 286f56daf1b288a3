"""Cells of a comparison, kept in a file: what is there is not run again.

A cell is a value of JSON; some of its entries say what was run, the others what came of it.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


@dataclass(frozen=True)
class Cells:
    """The cells of one comparison; `names` are the entries that tell them apart, in order."""

    file: str
    names: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where they are."""
        return Path(__file__).parents[1] / "results" / self.file

    def load(self) -> list[Cell]:
        """Return the cells run so far."""
        return json.loads(self.path.read_text()) if self.path.exists() else []

    def key(self, cell: Cell) -> tuple[Any, ...]:
        """Return what tells a cell apart."""
        return tuple(cell[name] for name in self.names)

    def run(
        self,
        function: Callable[..., Cell],
        wanted: Iterable[tuple[Any, ...]],
        processes: int = 2,
    ) -> Iterator[Cell]:
        """Run the cells that are not there yet, in processes, and write each when it is done."""
        cells = self.load()
        there = {self.key(cell) for cell in cells}
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            waiting = [pool.apply_async(function, each) for each in wanted if each not in there]
            for k, one in enumerate(waiting):
                cells.append(one.get())
                self.path.parent.mkdir(exist_ok=True)
                lines = ",\n".join(json.dumps(cell) for cell in sorted(cells, key=self.key))
                self.path.write_text(f"[\n{lines}\n]\n")
                print(f"{k + 1}/{len(waiting)}", *self.key(cells[-1]), end=": ", flush=True)
                yield cells[-1]
