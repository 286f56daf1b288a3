"""Tables of the comparison of rules, written into docs/rewiring-study.md.

Run ``python benchmarks/accuracy/tables.py``. Everything between ``<!-- table NAME -->`` and
``<!-- end -->`` is made from ``benchmarks/results/rewiring.json``.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from rewiring import load
from scipy import stats

STUDY = Path(__file__).parents[2] / "docs" / "rewiring-study.md"
MARKED = re.compile(r"(<!-- table (\w+) (\S+)( equal work)? -->\n).*?(<!-- end -->)", re.S)


def rows(task: str, density: float, equal_work: bool) -> list[dict[str, Any]]:
    """Return a row for each contender, the best first, paired with the static wiring by seed."""
    cells: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for cell in load():
        same_task = cell["task"] == task and cell["density"] == density
        # Circuits that keep their size cost the same either way.
        if same_task and (cell["equal_work"] == equal_work or cell["arm"] in ("static", "dense")):
            cells[cell["arm"]][cell["seed"]] = cell
    table = []
    for arm, by_seed in cells.items():
        errors = [cell["error"] for cell in by_seed.values()]
        pairs = [
            (cell["error"], cells["static"][seed]["error"])
            for seed, cell in by_seed.items()
            if seed in cells["static"]
        ]
        one = next(iter(by_seed.values()))
        differences = [a - b for a, b in pairs]
        table.append(
            {
                "arm": arm,
                "seeds": len(errors),
                "mean": statistics.mean(errors),
                "spread": statistics.stdev(errors) if len(errors) > 1 else float("nan"),
                "difference": statistics.mean(differences),
                "better": sum(d < 0 for d in differences),
                "pairs": len(pairs),
                "p": _paired_p(differences),
                "synapses": one["synapses"],
                "work": statistics.mean(cell["mean_synapses"] for cell in by_seed.values()),
                "churn": one.get("churn"),
                "age": one.get("median_age"),
                "grown": one.get("grown_share"),
                "seconds": statistics.median(cell["seconds"] for cell in by_seed.values()),
            }
        )
    return sorted(table, key=lambda row: row["mean"])


def _paired_p(differences: list[float]) -> float | None:
    """Return the two-sided p of Wilcoxon's signed-rank test, None without two differences."""
    if len(differences) < 2 or not any(differences):
        return None
    return float(stats.wilcoxon(differences).pvalue)


def markdown(table: list[dict[str, Any]]) -> str:
    """Return the rows as a table."""
    lines = [
        "| contender | synapses | mean while training | test error | against static | p | "
        "churn | has grown | median s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        against = "" if row["arm"] == "static" else (
            f"{row['difference']:+.3f}, {row['better']} of {row['pairs']}"
        )  # fmt: skip
        p = "" if row["p"] is None or row["arm"] == "static" else f"{row['p']:.3f}"
        churn, grown = (
            "" if row[name] is None else f"{row[name]:.0%}" for name in ("churn", "grown")
        )
        lines.append(
            f"| {row['arm']} | {row['synapses']} | {row['work']:.0f} | {row['mean']:.3f} ± "
            f"{row['spread']:.3f} ({row['seeds']}) | {against} | {p} | {churn} | {grown} | "
            f"{row['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    text = STUDY.read_text()

    def filled(match: re.Match[str]) -> str:
        head, task, density, equal_work, end = match.groups()
        return head + markdown(rows(task, float(density), bool(equal_work))) + end

    STUDY.write_text(MARKED.sub(filled, text))
    print(f"wrote {STUDY}")


if __name__ == "__main__":
    main()
