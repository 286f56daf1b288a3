"""What rows get that are not as they should be: one option each, and a note on what was done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from elegans.errors import WiringError
from elegans.wiring.connectome.edges import Edges, narrow, order_of, repeated


@dataclass(frozen=True, kw_only=True)
class Rules:
    """One option for each kind of row that is not as it should be.

    What changes the meaning of a file is an error until an option says what it means; what does
    not is done and told in `Connectome.notes`. Messages name the rows, the cells and the option.

    Parameters
    ----------
    duplicates
        Rows of the same connection: ``"sum"`` of their counts, or ``"error"``.
    negative
        Counts below 0: ``"error"``; ``"inhibitory"`` takes the sign for that of the synapses;
        ``"drop"`` leaves the rows out.
    fractional
        Counts that are not whole: ``"error"``, ``"keep"``, or ``"round"`` to the nearest whole
        number (rows that become 0 are left out).
    undirected
        Chemical edges without a direction: ``"error"``, ``"both"`` makes one each way,
        ``"electrical"`` takes them for gap junctions.
    self_gap
        A gap junction of a cell with itself, through which no current can flow: ``"drop"`` or
        ``"error"``.
    one_sided_gap
        A pair that is listed from one cell only: ``"mirror"`` takes it as it stands, ``"drop"``
        or ``"error"``.
    unequal_gap
        A pair that is listed both ways with different counts: the ``"larger"`` one, the
        ``"mean"``, or ``"error"``. Equal counts name the same junctions, which count once.
    unknown
        Cells of rows that are not in the table of neurons: ``"error"``, ``"keep"``, or ``"drop"``
        with their rows.
    zeros
        Names that differ by leading zeros alone (VB1 and VB01): ``"error"``, ``"merge"`` into the
        one without, or ``"keep"`` as two cells.
    cells
        Cells that are not neurons (muscles, glia): ``"keep"``, ``"drop"`` with their rows, or
        ``"error"``.

    Raises
    ------
    WiringError
        An option is none of these.

    Examples
    --------
    >>> Rules(duplicates="error", zeros="merge").zeros
    'merge'
    >>> Rules(zeros="strip")
    Traceback (most recent call last):
        ...
    elegans.errors.WiringError: zeros must be one of error, merge, keep, got 'strip'
    """

    duplicates: Literal["sum", "error"] = "sum"
    negative: Literal["error", "inhibitory", "drop"] = "error"
    fractional: Literal["error", "keep", "round"] = "error"
    undirected: Literal["error", "both", "electrical"] = "error"
    self_gap: Literal["drop", "error"] = "drop"
    one_sided_gap: Literal["mirror", "drop", "error"] = "mirror"
    unequal_gap: Literal["larger", "mean", "error"] = "larger"
    unknown: Literal["error", "keep", "drop"] = "error"
    zeros: Literal["error", "merge", "keep"] = "error"
    cells: Literal["keep", "drop", "error"] = "keep"

    def __post_init__(self) -> None:
        hints = get_type_hints(Rules)
        for field in fields(self):
            value, known = getattr(self, field.name), get_args(hints[field.name])
            if not isinstance(value, str) or value not in known:
                raise WiringError(f"{field.name} must be one of {', '.join(known)}, got {value!r}")


_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def without_zeros(name: str) -> str:
    """Return a name without the zeros that lead its numbers: VB1 of VB01, MDL5 of MDL05."""
    return _ZEROS.sub("", name)


def merged_names(
    names: Sequence[str], rules: Rules, notes: list[str]
) -> tuple[list[str], NDArray[np.int64] | None]:
    """Return the names, and the new index of each, None if it is the old one."""
    spelt: dict[str, list[str]] = {}
    for name in names:
        if "0" in name:
            spelt.setdefault(without_zeros(name), []).append(name)
    known = set(names)
    groups = {
        plain: sorted({*written, plain} & known)
        for plain, written in spelt.items()
        if len({*written, plain} & known) > 1
    }
    if not groups or rules.zeros == "keep":
        return list(names), None
    pairs = ", ".join("/".join(group) for group in groups.values())
    if rules.zeros == "error":
        raise WiringError(
            f"names differ by leading zeros alone: {_short(pairs)}; "
            'zeros="merge" takes them for one cell, zeros="keep" for two'
        )
    notes.append(f"names that differ by leading zeros were merged: {_short(pairs)}")
    to = {name: plain for plain, group in groups.items() for name in group}
    kept = list(dict.fromkeys(to.get(name, name) for name in names))
    place = {name: i for i, name in enumerate(kept)}
    return kept, np.array([place[to.get(name, name)] for name in names], dtype=np.int64)


def checked_counts(
    count: NDArray[Any],
    sign: NDArray[np.int8],
    electrical: NDArray[np.bool_],
    shown: Any,
    rules: Rules,
    notes: list[str],
) -> tuple[NDArray[Any], NDArray[np.int8], NDArray[np.bool_]]:
    """Return counts above 0, signs, and which rows to keep.

    Parameters
    ----------
    shown
        A function of an index that says which row it is.
    """
    keep = np.ones(len(count), dtype=np.bool_)
    strange = ~np.isfinite(count)
    if strange.any():
        k = int(np.argmax(strange))
        raise WiringError(
            f"{shown(k)} has {count[k]} synapses, expected a number; fill in or leave out "
            f"{int(strange.sum())} such rows"
        )
    negative = count < 0
    if negative.any():
        k, many = int(np.argmax(negative)), int(negative.sum())
        if rules.negative == "error" or (negative & electrical).any():
            raise WiringError(
                f"{shown(k)} has {count[k]:g} synapses, a negative count as in {many} rows; "
                'negative="inhibitory" takes the sign for that of chemical synapses, '
                'negative="drop" leaves the rows out'
            )
        if rules.negative == "inhibitory":
            sign = np.where(negative, np.int8(-1), sign)
            sign = np.where(~negative & (sign == 0) & ~electrical, np.int8(1), sign)
            count = np.abs(count)
            notes.append(f"{many} negative counts were taken for inhibitory synapses")
        else:
            keep &= ~negative
            notes.append(f"{many} rows with a negative count were left out")
    if not np.issubdtype(count.dtype, np.integer):
        broken = keep & (count != np.rint(count))
        if broken.any():
            k, many = int(np.argmax(broken)), int(broken.sum())
            if rules.fractional == "error":
                raise WiringError(
                    f"{shown(k)} has {count[k]:g} synapses, which is not whole, as in {many} rows; "
                    'fractional="keep" keeps such counts, fractional="round" rounds them'
                )
            if rules.fractional == "round":
                count = np.rint(count)
                notes.append(f"{many} counts that were not whole were rounded")
            else:
                notes.append(f"{many} counts are not whole")
    none = keep & (count == 0)
    if none.any():
        keep &= ~none
        notes.append(f"{int(none.sum())} rows with a count of 0 were left out")
    return count, sign, keep


def summed(
    pre: NDArray[Any],
    post: NDArray[Any],
    count: NDArray[Any],
    sign: NDArray[np.int8],
    names: Sequence[str],
    rules: Rules,
    notes: list[str],
) -> Edges:
    """Return chemical rows as edges; rows of the same connection and sign are summed."""
    order = order_of(pre, post, sign)
    if order is not None:
        pre, post, count, sign = pre[order], post[order], count[order], sign[order]
        del order
    same = repeated(pre, post, sign)
    if same.any():
        first = ~same
        if rules.duplicates == "error":
            k = int(np.argmax(same))
            raise WiringError(
                f"{int(same.sum())} rows repeat a connection, the first {names[pre[k]]!r} -> "
                f'{names[post[k]]!r}; duplicates="sum" sums their counts'
            )
        starts = np.flatnonzero(first)
        many = first & np.append(same[1:], False)
        notes.append(
            f"{int(same.sum() + many.sum())} rows of {int(many.sum())} connections were summed"
        )
        wide = np.int64 if np.issubdtype(count.dtype, np.integer) else np.float64
        count = narrow(np.add.reduceat(count, starts, dtype=wide))
        pre, post, sign = pre[first], post[first], sign[first]
    return Edges(pre, post, count, sign)


def paired(
    one: NDArray[Any],
    other: NDArray[Any],
    count: NDArray[Any],
    names: Sequence[str],
    rules: Rules,
    notes: list[str],
) -> Edges:
    """Return rows of gap junctions as pairs, symmetrised by the rule."""
    alone = one == other
    if alone.any():
        cells = _short(", ".join(sorted({names[i] for i in one[alone]})))
        if rules.self_gap == "error":
            raise WiringError(
                f'gap junctions join a cell to itself: {cells}; self_gap="drop" leaves them out'
            )
        notes.append(
            f"{int(alone.sum())} gap junctions of a cell with itself were left out: {cells}"
        )
        one, other, count = one[~alone], other[~alone], count[~alone]
    none = np.zeros(len(one), dtype=np.int8)
    directed = summed(one, other, count, none, names, rules, notes)
    low = np.minimum(directed.pre, directed.post)
    high = np.maximum(directed.pre, directed.post)
    upward = directed.pre < directed.post
    order = np.lexsort((~upward, high, low))
    low, high, upward = low[order], high[order], upward[order]
    value = directed.count[order].astype(np.float64)
    second = repeated(low, high, np.zeros(len(low), dtype=np.int8))
    both = np.append(second[1:], False)  # the first of two rows
    single = ~second & ~both
    if single.any():
        k = int(np.argmax(single))
        told = (
            f"{int(single.sum())} pairs of gap junctions are listed from one cell only, such as "
            f"{names[low[k]]}, {names[high[k]]}"
        )
        if rules.one_sided_gap == "error":
            raise WiringError(
                f'{told}; one_sided_gap="mirror" takes them as they stand, one_sided_gap="drop" '
                "leaves them out"
            )
        notes.append(
            f"{told}: " + ("taken as they stand" if rules.one_sided_gap == "mirror" else "left out")
        )
    starts = np.flatnonzero(~second)
    partner = np.where(both[starts], np.minimum(starts + 1, max(len(value) - 1, 0)), starts)
    here, there = value[starts], value[partner]
    unequal = here != there
    if unequal.any():
        k = int(np.argmax(unequal))
        told = (
            f"{int(unequal.sum())} pairs of gap junctions have different counts from either cell, "
            f"such as {names[low[starts[k]]]}, {names[high[starts[k]]]} ({here[k]:g} and "
            f"{there[k]:g})"
        )
        if rules.unequal_gap == "error":
            raise WiringError(f'{told}; unequal_gap="larger" or "mean" chooses')
        notes.append(f"{told}: the {rules.unequal_gap} was taken")
    total = (here + there) / 2 if rules.unequal_gap == "mean" else np.maximum(here, there)
    kept = ~single[starts] if rules.one_sided_gap == "drop" else np.ones(len(starts), np.bool_)
    starts = starts[kept]
    return Edges(low[starts], high[starts], total[kept])


def _short(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[:most].rsplit(',', 1)[0]}, ..."
