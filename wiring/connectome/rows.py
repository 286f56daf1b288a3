"""Rows of an edge list, gathered part by part, and the connectome that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.errors import WiringError
from elegans.wiring.connectome import worm_names
from elegans.wiring.connectome.cleaning import (
    Rules,
    checked_counts,
    merged_names,
    paired,
    summed,
)
from elegans.wiring.connectome.connectome import KINDS, NEURON, Connectome
from elegans.wiring.connectome.edges import narrow

CHEMICAL, ELECTRICAL, EXCITATORY, INHIBITORY, UNDIRECTED = range(5)
TYPES = {
    "": CHEMICAL,
    "chem": CHEMICAL,
    "chemical": CHEMICAL,
    "chemical synapse": CHEMICAL,
    "directed": CHEMICAL,
    "generic_cs": CHEMICAL,
    "ej": ELECTRICAL,
    "electrical": ELECTRICAL,
    "electrical synapse": ELECTRICAL,
    "gap": ELECTRICAL,
    "gap junction": ELECTRICAL,
    "gap_junction": ELECTRICAL,
    "gapjunction": ELECTRICAL,
    "generic_gj": ELECTRICAL,
    "gj": ELECTRICAL,
    "exc": EXCITATORY,
    "excitatory": EXCITATORY,
    "excitatorychem": EXCITATORY,
    "inh": INHIBITORY,
    "inhibitory": INHIBITORY,
    "inhibitorychem": INHIBITORY,
    "undirected": UNDIRECTED,
}
"""What stands in the column of types, in small letters."""

TRANSMITTERS = {
    "ach": "acetylcholine",
    "acetylcholine": "acetylcholine",
    "gaba": "gaba",
    "glut": "glutamate",
    "glutamate": "glutamate",
    "ser": "serotonin",
    "5ht": "serotonin",
    "5-ht": "serotonin",
    "serotonin": "serotonin",
    "da": "dopamine",
    "dop": "dopamine",
    "dopamine": "dopamine",
    "oct": "octopamine",
    "octopamine": "octopamine",
    "tyr": "tyramine",
    "tyramine": "tyramine",
    "his": "histamine",
    "histamine": "histamine",
    "unknown": "",
    "unclear": "",
    "none": "",
    "nan": "",
    "na": "",
}
"""Transmitters under the names that files give them, in small letters."""

_MOST_TRANSMITTERS = 100


def transmitter_of(text: str) -> str:
    """Return the one name of a transmitter, in small letters, empty if it is not known."""
    small = text.strip().lower()
    return TRANSMITTERS.get(small, small)


Columns = Mapping[str, Mapping[str, Any]]
"""What a table of neurons says, by the name of a cell, then of a field."""


class EdgeRows:
    """Rows of connections by names, held as 9 to 17 bytes each."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._count = 0
        self._transmitters: dict[str, int] = {}
        self._released = np.zeros((0, 0))

    def __len__(self) -> int:
        return self._count

    def cells(self, names: Sequence[str]) -> NDArray[np.int32]:
        """Return the index of each name, new ones after those that are known."""
        return np.array([self._cell(name, i) for i, name in enumerate(names)], dtype=np.int32)

    def _cell(self, name: object, row: int) -> int:
        text = str(name).strip()
        if not text or name is None or text in ("nan", "<NA>", "NaT"):
            raise WiringError(
                f"row {self._count + row + 1} has no name of a cell, got {name!r}; fill it in or "
                "leave the row out"
            )
        return self._index.setdefault(text, len(self._index))

    def _coded(self, *columns: Any) -> list[NDArray[np.int32]]:
        """Return the index of each name; new cells are numbered as they come, row by row."""
        import pandas as pd

        coded, first, seen = [], [], []
        for names in columns:
            codes, unique = pd.factorize(_column(names), use_na_sentinel=False)
            place = np.empty(len(unique), dtype=np.int64)
            place[codes[::-1]] = np.arange(len(codes))[::-1]  # the last that is written stays
            coded.append(codes)
            first.append(place)
            seen.append(list(unique))
        order = np.argsort(np.concatenate(first), kind="stable")
        names = [name for column in seen for name in column]
        rows = np.concatenate(first)
        index = np.empty(len(names), dtype=np.int32)
        for k in order.tolist():
            index[k] = self._cell(names[k], int(rows[k]))
        split = len(seen[0])
        return [part[codes] for part, codes in zip(np.split(index, [split]), coded, strict=True)]

    def add(
        self,
        pre: Any,
        post: Any,
        count: ArrayLike,
        types: Any = None,
        transmitters: Any = None,
    ) -> None:
        """Take in rows: names, counts, texts of `TYPES`, and what transmits at each.

        Raises `WiringError` where a name is missing, a count is no number, a type is not known, or
        the columns differ in length.
        """
        columns: dict[str, NDArray[Any]] = dict(
            zip(("pre", "post"), self._coded(pre, post), strict=True)
        )
        columns["count"] = narrow(_numbers(count, self._count))
        columns["type"] = self._types(types, len(columns["pre"]))
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise WiringError(f"a row has one pre, post, count and type, got lengths {lengths}")
        self._parts.append(tuple(columns.values()))
        if transmitters is not None:
            self._tell(columns["pre"], columns["count"], transmitters)
        self._count += len(columns["pre"])

    def _types(self, types: Any, count: int) -> NDArray[np.int8]:
        if types is None:
            return np.zeros(count, dtype=np.int8)
        import pandas as pd

        codes, seen = pd.factorize(_column(types), use_na_sentinel=False)
        known = np.zeros(len(seen), dtype=np.int8)
        for k, text in enumerate(seen):
            small = "" if pd.isna(text) else str(text).strip().lower()
            if small not in TYPES:
                row = self._count + int(np.argmax(codes == k)) + 1
                raise WiringError(
                    f"row {row} has the type {text!r}, expected one of "
                    f"{', '.join(filter(None, TYPES))}; columns={{'type': None}} reads all rows as "
                    "chemical synapses"
                )
            known[k] = TYPES[small]
        rows: NDArray[np.int8] = known[codes] if count else np.zeros(0, dtype=np.int8)
        return rows

    def _tell(self, pre: NDArray[np.int32], count: NDArray[Any], transmitters: Any) -> None:
        """Add to the number of synapses of each cell and transmitter."""
        import pandas as pd

        codes, seen = pd.factorize(_column(transmitters))
        kinds = [
            self._transmitters.setdefault(transmitter_of(str(text)), len(self._transmitters))
            for text in seen
        ]
        cells, many = len(self._index), max(len(self._transmitters), 1)
        if many > _MOST_TRANSMITTERS:
            raise WiringError(
                f"the column of transmitters has {many} of them, expected at most "
                f"{_MOST_TRANSMITTERS}; columns={{'transmitter': None}} leaves it out"
            )
        grown = np.zeros((cells, many))
        grown[: self._released.shape[0], : self._released.shape[1]] = self._released
        known = codes >= 0
        kind = np.array(kinds, dtype=np.int64)[codes[known]]
        at = pre[known].astype(np.int64) * many + kind
        grown += np.bincount(at, weights=count[known], minlength=cells * many).reshape(cells, many)
        self._released = grown

    def connectome(
        self,
        rules: Rules | None = None,
        *,
        neurons: Any = None,
        naming: str | None = None,
        notes: Sequence[str] = (),
    ) -> Connectome:
        """Return the connectome of the rows; see `load` for the arguments."""
        from elegans.wiring.connectome.neuron_tables import read_neurons

        rules = Rules() if rules is None else rules
        if not isinstance(rules, Rules):
            raise WiringError(f"rules must be Rules, got {rules!r}; make them by Rules(...)")
        if naming not in (None, "worm"):
            raise WiringError(f"naming must be 'worm' or None, got {naming!r}")
        told = list(notes)
        table: Columns | None = None if neurons is None else read_neurons(neurons)
        # What tells of a name in the table tells of the cell, too, that it is merged into.
        names, place = merged_names([*self._index, *_new(table, self._index)], rules, told)
        if not names:
            raise WiringError("the file holds no connections; is it the file you meant?")
        pre, post, count, types = self._columns(place)
        keep = _known(names, pre, post, table, rules, told)
        about = _about(names, table, naming, self._told_transmitters(place, len(names)))
        keep = _cells(names, about["kinds"], pre, post, keep, rules, told)
        sign = np.zeros(len(pre), dtype=np.int8)
        sign[types == EXCITATORY] = 1
        sign[types == INHIBITORY] = -1
        electrical = types == ELECTRICAL
        if (types == UNDIRECTED).any():
            pre, post, count, sign, electrical, keep = _directed(
                pre, post, count, sign, electrical, keep, types == UNDIRECTED, names, rules, told
            )
        del types

        def shown(k: int) -> str:
            return f"row {k + 1} ({names[pre[k]]} -> {names[post[k]]})"

        count, sign, whole = checked_counts(count, sign, electrical, shown, rules, told)
        keep &= whole
        chemical = keep & ~electrical
        electrical &= keep
        made = Connectome(
            names,
            summed(
                pre[chemical],
                post[chemical],
                count[chemical],
                sign[chemical],
                names,
                rules,
                told,
            ),
            paired(pre[electrical], post[electrical], count[electrical], names, rules, told),
            **about,
            notes=told,
        )
        return _without_dropped(made, rules, table)

    def _columns(self, place: NDArray[np.int64] | None) -> list[NDArray[Any]]:
        """Return the columns of all parts, which are let go."""
        columns: list[NDArray[Any]] = []
        empty = (np.zeros(0, np.int32),) * 3 + (np.zeros(0, np.int8),)
        for k in range(4):
            columns.append(np.concatenate([part[k] for part in self._parts or [empty]]))
        self._parts = [tuple(columns)]
        if place is not None:
            columns[0], columns[1] = place[columns[0]], place[columns[1]]
        return columns

    def _told_transmitters(self, place: NDArray[np.int64] | None, cells: int) -> list[str]:
        """Return the transmitter of most synapses of each cell, as the rows say."""
        if not self._transmitters:
            return [""] * cells
        many = np.zeros((cells, len(self._transmitters)))
        rows, columns = self._released.shape
        at = np.arange(rows) if place is None else place[:rows]
        np.add.at(many[:, :columns], at, self._released)
        if "" in self._transmitters:
            many[:, self._transmitters[""]] = 0
        names = list(self._transmitters)
        best = many.argmax(axis=1)
        return [names[k] if many[i, k] > 0 else "" for i, k in enumerate(best)]


def _column(values: Any) -> Any:
    """Return a column that can be factorized: lists become arrays of objects."""
    import pandas as pd

    if isinstance(values, np.ndarray | pd.Series | pd.Index):
        return values
    return np.array(list(values), dtype=object)


def _numbers(count: ArrayLike, before: int) -> NDArray[Any]:
    array = np.asarray(count)
    if array.dtype == np.bool_ or not np.issubdtype(array.dtype, np.number):
        import pandas as pd

        numbers = pd.to_numeric(pd.Series(array.ravel()), errors="coerce").to_numpy(np.float64)
        strange = np.isnan(numbers)
        if strange.any():
            k = int(np.argmax(strange))
            raise WiringError(
                f"row {before + k + 1} has {array.ravel()[k]!r} synapses, expected a number; fill "
                "it in, or name the column by columns={'count': ...}"
            )
        array = numbers
    return array


def _new(table: Columns | None, index: Mapping[str, int]) -> list[str]:
    return [] if table is None else [name for name in table if name not in index]


def _known(
    names: Sequence[str],
    pre: NDArray[Any],
    post: NDArray[Any],
    table: Columns | None,
    rules: Rules,
    notes: list[str],
) -> NDArray[np.bool_]:
    """Return which rows join cells of the table."""
    keep = np.ones(len(pre), dtype=np.bool_)
    if table is None:
        return keep
    unknown = np.array([name not in table for name in names])
    if unknown.any():
        told = f"{int(unknown.sum())} cells are not in the table of neurons: " + _few(
            names, unknown
        )
        if rules.unknown == "error":
            raise WiringError(f'{told}; unknown="keep" keeps them, unknown="drop" leaves them out')
        if rules.unknown == "drop":
            keep &= ~(unknown[pre] | unknown[post])
        notes.append(told + (", kept" if rules.unknown == "keep" else ", left out"))
    return keep


def _about(
    names: Sequence[str], table: Columns | None, naming: str | None, released: Sequence[str]
) -> dict[str, Any]:
    """Return what is known of each cell, by the columns of `Connectome`."""
    rows = [(table or {}).get(name, {}) for name in names]
    about: dict[str, Any] = {
        "classes": [row.get("class", "") for row in rows],
        "transmitters": [
            row.get("transmitter", "") or told for row, told in zip(rows, released, strict=True)
        ],
        "sides": [row.get("side", "") for row in rows],
        "kinds": [row.get("kind", "") for row in rows],
        "positions": [row.get("position") or (np.nan,) * 3 for row in rows],
    }
    if naming == "worm":
        kinds = [k or worm_names.kind_of(n) for k, n in zip(about["kinds"], names, strict=True)]
        about["kinds"] = kinds
        for field, rule in (("classes", worm_names.class_of), ("sides", worm_names.side_of)):
            about[field] = [
                known or (rule(name) if kind == NEURON else "")
                for known, name, kind in zip(about[field], names, kinds, strict=True)
            ]
    about["kinds"] = [
        kind if kind in KINDS else "other" if kind else NEURON for kind in about["kinds"]
    ]
    return about


def _cells(
    names: Sequence[str],
    kinds: Sequence[str],
    pre: NDArray[Any],
    post: NDArray[Any],
    keep: NDArray[np.bool_],
    rules: Rules,
    notes: list[str],
) -> NDArray[np.bool_]:
    """Return which rows stay, with those of muscles and other cells or without."""
    other = np.array(kinds) != NEURON
    if not other.any():
        return keep
    told = f"{int(other.sum())} cells are not neurons: {_few(names, other)}"
    if rules.cells == "error":
        raise WiringError(f'{told}; cells="keep" keeps them, cells="drop" leaves them out')
    notes.append(told + (", kept" if rules.cells == "keep" else ", left out"))
    return keep & ~(other[pre] | other[post]) if rules.cells == "drop" else keep


def _directed(
    pre: NDArray[Any],
    post: NDArray[Any],
    count: NDArray[Any],
    sign: NDArray[np.int8],
    electrical: NDArray[np.bool_],
    keep: NDArray[np.bool_],
    undirected: NDArray[np.bool_],
    names: Sequence[str],
    rules: Rules,
    notes: list[str],
) -> tuple[NDArray[Any], ...]:
    """Return the columns with rows that have no direction as the rule has it."""
    k, many = int(np.argmax(undirected)), int(undirected.sum())
    if rules.undirected == "error":
        raise WiringError(
            f"row {k + 1} ({names[pre[k]]} -- {names[post[k]]}) has no direction, as {many} rows "
            'have; undirected="both" makes a chemical connection each way, '
            'undirected="electrical" takes them for gap junctions'
        )
    if rules.undirected == "electrical":
        notes.append(f"{many} undirected rows were taken for gap junctions")
        return pre, post, count, sign, electrical | undirected, keep
    notes.append(f"{many} undirected rows became a chemical connection each way")
    back = undirected & (pre != post)
    return (
        np.concatenate([pre, post[back]]),
        np.concatenate([post, pre[back]]),
        *(np.concatenate([column, column[back]]) for column in (count, sign, electrical, keep)),
    )


def _without_dropped(made: Connectome, rules: Rules, table: Columns | None) -> Connectome:
    """Leave out the cells that the rules drop, whose rows are gone."""
    from elegans.wiring.connectome.subcircuits import keep_cells

    stays = np.ones(len(made), dtype=np.bool_)
    if rules.cells == "drop":
        stays &= np.array(made.kinds) == NEURON
    if rules.unknown == "drop" and table is not None:
        stays &= np.array([name in table for name in made.names])
    return made if stays.all() else keep_cells(made, np.flatnonzero(stays))


def _few(names: Sequence[str], which: NDArray[np.bool_]) -> str:
    chosen = [names[i] for i in np.flatnonzero(which)[:5]]
    return ", ".join(chosen) + (", ..." if which.sum() > 5 else "")
