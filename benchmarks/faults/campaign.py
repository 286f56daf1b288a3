"""What the campaigns have in common: counts from the shell, and results that are kept.

Each campaign is a function of a count, a seed and an empty folder that returns what it saw as plain
values, and raises `BrokenPromiseError` at the first promise that does not hold.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
PAGE = ROOT / "docs" / "reliability.md"
TABLE = re.compile(r"(?<=<!-- campaigns -->\n).*?(?=<!-- end -->)", re.DOTALL)

Campaign = Callable[[int, int, Path], dict[str, Any]]


class BrokenPromiseError(Exception):
    """A promise of the library does not hold; the message says which, and how to see it again."""


def require(holds: bool, otherwise: str) -> None:
    """Raise `BrokenPromiseError` unless something holds."""
    if not holds:
        raise BrokenPromiseError(otherwise)


def main(name: str, campaign: Campaign, count: int) -> None:
    """Run a campaign from the shell, print what it saw, and keep that.

    Parameters
    ----------
    name
        What the result is called.
    campaign
        The campaign.
    count
        How many times, by default.
    """
    parser = argparse.ArgumentParser(description=campaign.__doc__)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seen = campaign(arguments.count, arguments.seed, Path(folder))
    seen = {"count": arguments.count, **seen, "minutes": round((time.monotonic() - begun) / 60, 1)}
    kept = results() | {name: {"script": Path(sys.argv[0]).name, **seen}}
    RESULTS.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
    PAGE.write_text(with_table(PAGE.read_text()))
    print(f"{name}: {told(seen)}")


def results() -> dict[str, dict[str, Any]]:
    """Return what the campaigns saw when they were last run, by name."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def with_table(page: str) -> str:
    """Return the text of the page of reliability with the table of all campaigns."""
    lines = ["| campaign, by `python benchmarks/faults/...` | what was seen |", "|---|---|"]
    for name, seen in results().items():
        rest = {key: value for key, value in seen.items() if key != "script"}
        lines.append(f"| {name}: `{seen['script']}` | {told(rest)} |")
    return TABLE.sub("\n".join(lines) + "\n", page)


def told(value: Any) -> str:
    """Return what was seen as a reader likes it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {told(one)}" for key, one in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)
