"""Tables of the comparisons, written into docs/rewiring-study.md and docs/worm.md.

Run ``python benchmarks/accuracy/tables.py``. Everything between a mark such as
``<!-- table TASK DENSITY -->`` and ``<!-- end -->`` is made from ``benchmarks/results/``.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certified
import initializations
import models
import rewiring
import robustness
import worm
from scipy import stats

PAGES = tuple(
    Path(__file__).parents[2] / "docs" / name for name in ("rewiring-study.md", "worm.md")
)
MARKED = re.compile(
    r"(<!-- (\w+)(?: (\w+))?(?: ([\d.]+))?( equal work)? -->\n).*?(<!-- end -->)", re.DOTALL
)


def rows(task: str, density: float, equal_work: bool) -> list[dict[str, Any]]:
    """Return a row for each contender, the best first, paired with the static wiring by seed."""
    cells: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for cell in rewiring.CELLS.load():
        same_task = cell["task"] == task and cell["density"] == density
        if same_task and (cell["equal_work"] == equal_work or cell["arm"] == "static"):
            cells[cell["arm"]][cell["seed"]] = cell
    table = []
    for arm, by_seed in cells.items():
        errors = [cell["error"] for cell in by_seed.values()]
        pairs = [
            (cell["error"], cells["static"][seed]["error"])
            for seed, cell in by_seed.items()
            if seed in cells["static"]
        ]
        if len(pairs) < 2:  # a single seed says nothing
            continue
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


def disturbed(task: str, density: float) -> str:
    """Return the errors under each disturbance, a row for each contender."""
    cells: dict[str, list[dict[str, float]]] = defaultdict(list)
    for cell in robustness.CELLS.load():
        if cell["task"] == task and cell["density"] == density:
            cells[cell["arm"]].append(cell["errors"])
    names = list(next(iter(cells.values()))[0]) if cells else ["none"]
    lines = ["| contender | seeds | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for arm, errors in sorted(cells.items(), key=lambda item: _mean_of(item[1], "none")[0]):
        means = (
            f"{statistics.mean(values):.3g} ± {statistics.stdev(values):.2g}"
            for values in ([one[name] for one in errors] for name in names)
            if len(values) > 1
        )
        lines.append(f"| {arm} | {len(errors)} | " + " | ".join(means) + " |")
    return "\n".join(lines) + "\n"


def compared(task: str) -> str:
    """Return the errors of models of a task, a row for each, the best first."""
    cells: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for cell in models.CELLS.load():
        if cell["task"] == task:
            cells[cell["model"]].append(cell)
    lines = [
        "| model | weights | epochs | error, last epoch | at best validation | s an epoch | on |",
        "|---|---|---|---|---|---|---|",
    ]

    def rank(some: list[dict[str, Any]]) -> tuple[int, float]:
        return -max(cell["epochs"] for cell in some), _mean_of(_longest(some), "error")[0]

    for model, every in sorted(cells.items(), key=lambda item: rank(item[1])):
        some = _longest(every)
        last, best = ("{:.3f} ± {:.3f}".format(*_mean_of(some, k)) for k in ("error", "best"))
        if len(some) == 1:
            last, best = (f"{some[0][k]:.3f}" for k in ("error", "best"))
        # A short run beside no other tells the time.
        seconds = min(cell["seconds"] / cell["epochs"] for cell in every)
        lines.append(
            f"| {model} | {some[0]['weights']:,} | {some[0]['epochs']} | {last} ({len(some)}) | "
            f"{best} | {seconds:.2g} | {some[0]['device'].removeprefix('NVIDIA ')} |"
        )
    return "\n".join(lines) + "\n"


def _longest(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cells of the most epochs."""
    most = max(cell["epochs"] for cell in cells)
    return [cell for cell in cells if cell["epochs"] == most]


def densities(task: str) -> str:
    """Return the errors of static and rewired circuits at each density, a row for each density."""
    known = {cell["density"] for cell in rewiring.CELLS.load() if cell["task"] == task}
    arms = ["static", "free", "gradual", "development 3"]
    lines = ["| synapses | " + " | ".join(arms) + " |", "|---" * (1 + len(arms)) + "|"]
    for share in sorted(known, reverse=True):
        table = {row["arm"]: row for row in rows(task, share, equal_work=False)}
        if "static" not in table:
            continue
        line = [f"{table['static']['synapses']}, {share:.0%}"]
        for row in map(table.get, arms):
            text = ""
            if row is not None:
                text = f"{row['mean']:.3f} ± {row['spread']:.3f} ({row['seeds']})"
                if row["arm"] != "static":
                    text += f"; {row['difference']:+.3f}, {row['better']} of {row['pairs']}"
            line.append(text)
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def certificates() -> str:
    """Return what each rule does to circuits that stay certified."""
    cells: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for cell in certified.CELLS.load():
        cells[cell["rule"]].append(cell)
    lines = [
        "| rule | certified | rate | validation error | return | rewired | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for rule, some in sorted(cells.items()):
        proved = [cell for cell in some if cell["rate"] is not None]
        rate = "{:.3f} ± {:.3f}".format(*_mean_of(proved, "rate")) if proved else ""
        error = "{:.3f} ± {:.3f}".format(*_mean_of(some, "error"))
        means = (f"{_mean_of(some, name)[0]:.0f}" for name in ("return", "rewired", "refused"))
        line = [rule, f"{len(proved)} of {len(some)}", rate, error, *means]
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def wirings(task: str) -> str:
    """Return the errors of circuits of different wirings, and the real one against each by seed."""
    cells: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for cell in worm.CELLS.load():
        if cell["task"] == task:
            cells[cell["arm"]][cell["seed"]] = cell
    lines = [
        "| wiring | synapses | error | real less this one | p | synapses kept | in the worm |",
        "|---" * 7 + "|",
    ]
    for arm, by_seed in sorted(
        cells.items(), key=lambda item: _mean_of([*item[1].values()], "error")[0]
    ):
        some = [*by_seed.values()]
        differences = [
            cells["real"][seed]["error"] - cell["error"]
            for seed, cell in by_seed.items()
            if arm != "real" and seed in cells["real"]
        ]
        against = p = kept = within = ""
        if differences:
            wins = sum(d < 0 for d in differences)
            against = f"{statistics.mean(differences):+.3g}, better {wins} of {len(differences)}"
            value = _paired_p(differences)
            p = "" if value is None else f"{value:.3f}"
        if "kept" in some[0]:
            kept = f"{_mean_of(some, 'kept')[0]:.0%}"
            before, after = (_mean_of(some, name)[0] for name in ("real_before", "real_after"))
            within = f"{before:.0%}, then {after:.0%}"
        mean, spread = _mean_of(some, "error")
        count = statistics.mean(cell["synapses"] for cell in some)
        lines.append(
            f"| {arm} | {count:.0f} | {mean:.3g} ± {spread:.2g} ({len(some)}) | {against} | {p} | "
            f"{kept} | {within} |"
        )
    return "\n".join(lines) + "\n"


def _mean_of(cells: list[dict[str, Any]], name: str) -> tuple[float, float]:
    values = [cell[name] for cell in cells]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else float("nan")


def main() -> None:
    def filled(match: re.Match[str]) -> str:
        head, kind, task, density, equal_work, end = match.groups()
        share = float(density or 0)
        makers: dict[str, Callable[[], str]] = {
            "table": lambda: markdown(rows(task, share, bool(equal_work))),
            "densities": lambda: densities(task),
            "robustness": lambda: disturbed(task, share),
            "models": lambda: compared(task),
            "certified": certificates,
            "wirings": lambda: wirings(task),
            "initial": lambda: "\n".join(initializations.told(initializations.CELLS.load())) + "\n",
        }
        return head + makers[kind]() + end

    for page in PAGES:
        page.write_text(MARKED.sub(filled, page.read_text()))
        print(f"wrote {page}")


if __name__ == "__main__":
    main()
