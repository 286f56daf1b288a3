"""What prune-and-rewire did to a wiring, as a film."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from elegans.errors import InputError
from elegans.pruning.ledger import PRUNED, REWIRED, Edit
from elegans.synapses.plain import ELECTRICAL
from elegans.wiring import Wiring

History = tuple[Wiring, Iterable[Edit | Mapping[str, Any]]]
"""The wiring before training, and the ledger."""

_Key = tuple[str, int, int]

_KINDS = ("sensory", "recurrent", ELECTRICAL)


def replayed(history: History, now: Wiring) -> dict[str, Any] | None:
    """Return every synapse that there ever was, and the steps from which and until which it was.

    A run keeps the weights that were best, after which the ledger goes on: the film ends where the
    wiring is that of the circuit. None where that is never the case.

    Parameters
    ----------
    history
        The wiring before training, and the ledger.
    now
        The wiring of the circuit.

    Raises
    ------
    InputError
        The ledger is about synapses that the wiring has not.
    """
    before, ledger = history
    synapses: list[list[Any]] = []  # [source, target, sign, since, until], sensory neurons first
    there: defaultdict[_Key, list[int]] = defaultdict(list)

    def grow(key: _Key, sign: int, step: int) -> None:
        kind, source, target = key
        sign = 0 if kind == ELECTRICAL else sign
        shift = before.input_size
        there[key].append(len(synapses))
        source += 0 if kind == "sensory" else shift
        synapses.append([source, target + shift, sign, step, None])

    for kind in _KINDS:
        for source, target, sign in _ends(before, kind):
            grow(_key(kind, source, target), sign, 0)
    wanted = Counter(
        _key(kind, source, target) for kind in _KINDS for source, target, _ in _ends(now, kind)
    )
    missing = wanted.copy()
    missing.subtract({key: len(places) for key, places in there.items()})
    differing = sum(map(abs, missing.values()))

    def count(key: _Key, change: int) -> None:
        nonlocal differing
        differing -= abs(missing[key])
        missing[key] -= change
        differing += abs(missing[key])

    end = 0 if not differing else None
    steps: list[int] = []
    edits = (each if isinstance(each, Edit) else Edit.from_dict(dict(each)) for each in ledger)
    for edit in edits:
        if edit.outcome not in (REWIRED, PRUNED):
            continue
        if steps and edit.step != steps[-1] and not differing:
            end = steps[-1]
        cut = _key(edit.synapses.rpartition(".")[2], edit.source, edit.cut)
        if not there[cut]:
            raise InputError(
                f"got a ledger that cuts {cut[0]} synapse {edit.source} to {edit.cut} at step "
                f"{edit.step}, where there is none; pass the wiring and the ledger of one run"
            )
        synapses[there[cut].pop()][4] = edit.step
        count(cut, -1)
        if edit.outcome == REWIRED and edit.grown is not None and edit.grown_source is not None:
            kind = (edit.grown_synapses or edit.synapses).rpartition(".")[2]
            key = _key(kind, edit.grown_source, edit.grown)
            grow(key, 1 if edit.polarity is None else edit.polarity, edit.step)
            count(key, 1)
        if not steps or steps[-1] != edit.step:
            steps.append(edit.step)
    if steps and not differing:
        end = steps[-1]
    if not end:
        return None
    return {
        "steps": [0, *(step for step in steps if step <= end)],
        "synapses": [
            [*one[:4], None if one[4] is None or one[4] > end else one[4]]
            for one in synapses
            if one[3] <= end
        ],
    }


def _key(kind: str, source: int, target: int) -> _Key:
    """Return what a synapse is found by; of a gap junction either end may come first."""
    if kind == ELECTRICAL:
        source, target = min(source, target), max(source, target)
    return kind, source, target


def _ends(wiring: Wiring, kind: str) -> list[tuple[int, int, int]]:
    synapses = getattr(wiring, kind)
    if kind == ELECTRICAL:
        return list(synapses)
    columns = (synapses.source, synapses.target, synapses.polarity)
    return list(zip(*(column.tolist() for column in columns), strict=True))
