"""Published claims as data: a statement, a verdict, and the numbers that decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Verdict = Literal["refuted", "true", "true as restated"]


class Row(NamedTuple):
    """One quantity of a demonstration, and its two numbers; NaN where there is none."""

    quantity: str
    first: float
    second: float


@dataclass(frozen=True)
class Demonstration:
    """Numbers that show a claim to be false, or a theorem at work.

    Parameters
    ----------
    columns
        What the two numbers of each row are: before and after a rewire, or measured and bound.
    rows
        The numbers.
    confirmed
        Whether these numbers decide as the verdict says. It is computed from them: a library
        that moves circuits wrongly gives False.
    """

    columns: tuple[str, str]
    rows: tuple[Row, ...]
    confirmed: bool

    def __getitem__(self, quantity: str) -> tuple[float, float]:
        """Return the two numbers of a quantity."""
        for row in self.rows:
            if row.quantity == quantity:
                return row.first, row.second
        raise KeyError(f"{quantity!r} is none of {[row.quantity for row in self.rows]}")


@dataclass(frozen=True)
class Claim:
    """A published or a corrected statement about prune-and-rewire.

    Parameters
    ----------
    name
        The module's name.
    statement
        What was claimed.
    source
        Where.
    assumptions
        What the claim takes for granted without saying so.
    corrected
        What is true.
    verdict
        On the statement, not on the correction.
    demonstrate
        Computes the deciding numbers with the library's own circuits.
    """

    name: str
    statement: str
    source: str
    assumptions: tuple[str, ...]
    corrected: str
    verdict: Verdict
    demonstrate: Callable[[], Demonstration]


def report(claim: Claim) -> str:
    """Return a claim, its verdict and its numbers as text.

    Examples
    --------
    >>> claim = Claim(
    ...     "sums", "1 + 1 = 3", "a rumour", ("counting",), "1 + 1 = 2", "refuted",
    ...     lambda: Demonstration(("claimed", "is"), (Row("1 + 1", 3, 2),), True),
    ... )
    >>> print(report(claim))
    sums: refuted
      claimed   1 + 1 = 3 (a rumour)
      assumes   counting
      true is   1 + 1 = 2
      numbers confirm the verdict
      1 + 1                                                     claimed 3           is 2
    """
    shown = claim.demonstrate()
    outcome = "confirm" if shown.confirmed else "DO NOT CONFIRM"
    lines = [
        f"{claim.name}: {claim.verdict}",
        f"  claimed   {claim.statement} ({claim.source})",
        *(f"  assumes   {assumption}" for assumption in claim.assumptions),
        f"  true is   {claim.corrected}",
        f"  numbers {outcome} the verdict",
    ]
    for row in shown.rows:
        first, second = (
            "" if math.isnan(number) else f"{column} {number:.6g}"
            for column, number in zip(shown.columns, row[1:], strict=True)
        )
        lines.append(f"  {row.quantity:<57} {first:<20}{second}".rstrip())
    return "\n".join(lines)
