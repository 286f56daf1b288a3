"""Random counterparts of a connectome that keep its degrees, and more where asked.

Two connections of a drawn pair exchange their targets, a -> b and c -> d becoming a -> d and
c -> b. A round pairs connections at random, tries half of the pairs, and makes every exchange that
touches no pair of cells that another connection or exchange touches. A round and its reverse are
then equally likely, and after many rounds so are all counterparts that exchanges can reach.

References
----------
S. Maslov, K. Sneppen: Specificity and stability in topology of protein networks. Science 296
(2002).
A. R. Rao, R. Jana, S. Bandyopadhyay: A Markov chain Monte Carlo method for generating random
(0,1)-matrices with given marginals. Sankhya A 58 (1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.edges import Edges, order_of

_MOST_SWAPS = 100_000
_TRIED = 0.25
"""Exchanges that a round tries, as a share of the connections: half of the pairs."""


@checked(WiringError)
def random_counterpart(
    connectome: Connectome,
    *,
    blocks: Sequence[str] | bool = False,
    reciprocity: bool = False,
    seed: int = 0,
    swaps: float = 10.0,
) -> Connectome:
    """Return a random connectome of the same cells with the same degrees.

    Kept exactly: the number of targets and of sources of each cell, the counts and signs of the
    synapses that each cell makes (they move with its end of a connection), self-connections, and
    the number of partners of each cell by gap junctions. The numbers of synapses onto a cell and of
    its gap junctions change with who its partners are.

    Parameters
    ----------
    connectome
        What to shuffle.
    blocks
        The block of each cell, shape (cell,), or true for `Connectome.classes`: the number of
        connections from each block to each other stays, too.
    reciprocity
        Keep for each cell how many of its partners it is connected with in both directions.
    seed
        The same seed gives the same counterpart.
    swaps
        Exchanges to try, as a multiple of the number of connections. A note tells how many were
        made, which are few in a dense circuit or a very small one.

    Raises
    ------
    WiringError
        Blocks are not one a cell, or `seed` or `swaps` is not a number from 0.

    Examples
    --------
    >>> from elegans.wiring.connectome import tap_withdrawal
    >>> circuit = tap_withdrawal()
    >>> other = random_counterpart(circuit, seed=1)
    >>> bool((circuit.adjacency().sum(axis=1) == other.adjacency().sum(axis=1)).all())
    True
    >>> other.chemical == circuit.chemical
    False
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise WiringError(f"seed must be a whole number from 0, got {seed!r}")
    if isinstance(swaps, bool) or not 0 <= float(swaps) <= _MOST_SWAPS:
        raise WiringError(f"swaps must be a number from 0 to {_MOST_SWAPS}, got {swaps!r}")
    random = np.random.default_rng(seed)
    block = _blocks(connectome, blocks)
    edges = connectome.chemical
    dyads = _dyads(edges, reciprocity)
    done = _shuffle(dyads, len(connectome), block, reciprocity, random, swaps)
    pre, post = _spread(dyads, len(edges))
    order = order_of(pre, post, edges.sign)
    pairs, done_pairs = _pairs(connectome, block, random, swaps)
    note = (
        f"a random counterpart (seed {seed}) after {done} exchanges of {len(edges)} chemical "
        f"connections and {done_pairs} of {len(pairs)} electrical pairs"
    )
    guessed = connectome.guessed if order is None else connectome.guessed[order]
    return connectome.replace(
        chemical=Edges(pre, post, edges.count, edges.sign),
        electrical=pairs,
        guessed=guessed,
        notes=(*connectome.notes, note),
    )


@dataclass
class _Dyads:
    """Pairs of cells that move together: `there` is the edge from u to v, `back` that from v to u.

    Columns have shape (dyad,); `back` is -1 where no edge leads back.
    """

    u: NDArray[np.int64]
    v: NDArray[np.int64]
    there: NDArray[np.int64]
    back: NDArray[np.int64]


def _blocks(connectome: Connectome, blocks: Sequence[str] | bool) -> NDArray[np.int64] | None:
    if blocks is False:
        return None
    named: Sequence[str] = connectome.classes if blocks is True else blocks
    if isinstance(named, str) or len(named) != len(connectome):
        raise WiringError(
            f"blocks must hold a block for each of {len(connectome)} cells, got {blocks!r:.60}"
        )
    if blocks is True and not any(named):
        raise WiringError(
            "blocks=True needs classes of cells, which this connectome has not; pass a block a cell"
        )
    number: dict[str, int] = {}
    return np.array([number.setdefault(str(name), len(number)) for name in named], dtype=np.int64)


def _dyads(edges: Edges, reciprocity: bool) -> _Dyads:
    pre, post = edges.pre.astype(np.int64), edges.post.astype(np.int64)
    index = np.arange(len(edges), dtype=np.int64)
    back = np.full(len(edges), -1, dtype=np.int64)
    if not reciprocity:
        return _Dyads(pre, post, index, back)
    forward, reverse = pre << 31 | post, post << 31 | pre
    place = np.minimum(np.searchsorted(forward, reverse), max(len(edges) - 1, 0))
    if not len(edges):
        return _Dyads(pre, post, index, back)
    # Pairs with synapses of both signs stay where they are: what repeats a pair is never moved.
    parallel = np.zeros(len(edges), dtype=np.bool_)
    parallel[1:] = forward[1:] == forward[:-1]
    parallel[:-1] |= parallel[1:]
    mutual = (forward[place] == reverse) & (pre != post) & ~parallel & ~parallel[place]
    back[mutual] = place[mutual]
    keep = ~mutual | (pre < post)
    return _Dyads(pre[keep], post[keep], index[keep], back[keep])


def _shuffle(
    dyads: _Dyads,
    cells: int,
    block: NDArray[np.int64] | None,
    unordered: bool,
    random: np.random.Generator,
    swaps: float,
) -> int:
    """Exchange ends of dyads in place; return how many exchanges were made.

    Parameters
    ----------
    unordered
        Whether no pair of cells may be joined by more than one dyad, in whatever direction.
    """
    done = 0
    movable = np.flatnonzero(dyads.u != dyads.v)
    # The number of rounds is set beforehand: to stop at a number of exchanges would favour states.
    for _ in range(int(np.ceil(swaps / _TRIED))):
        _turn(dyads, unordered, random)
        first, second = _matched(dyads, movable, block, random)
        tried = random.random(len(first)) < 0.5
        first, second = first[tried], second[tried]
        if not len(first):
            continue
        free = _free(dyads, first, second, cells, unordered)
        first, second = first[free], second[free]
        done += len(first)
        for column in (dyads.v, dyads.back):
            column[first], column[second] = column[second], column[first]
    return done


def _turn(dyads: _Dyads, unordered: bool, random: np.random.Generator) -> None:
    """Turn dyads that lead both ways around, half of them at random."""
    if not unordered:
        return
    turn = (dyads.back >= 0) & (random.random(len(dyads.u)) < 0.5)
    dyads.u[turn], dyads.v[turn] = dyads.v[turn], dyads.u[turn]
    dyads.there[turn], dyads.back[turn] = dyads.back[turn], dyads.there[turn]


def _matched(
    dyads: _Dyads,
    movable: NDArray[np.int64],
    block: NDArray[np.int64] | None,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of dyads of the same kind and blocks, drawn at random, each dyad once."""
    drawn = random.permutation(movable)
    if not len(drawn):
        return drawn, drawn
    group = (dyads.back[drawn] >= 0).astype(np.int64)
    if block is not None:
        many = int(block.max()) + 1
        group += 2 * (block[dyads.u[drawn]] * many + block[dyads.v[drawn]])
    order = np.argsort(group, kind="stable")
    drawn, group = drawn[order], group[order]
    start = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    size = np.diff(np.r_[start, len(group)])
    place = np.arange(len(group)) - np.repeat(start, size)
    has_partner = np.repeat(size, size) > (place | 1)
    return drawn[has_partner & (place % 2 == 0)], drawn[has_partner & (place % 2 == 1)]


def _free(
    dyads: _Dyads,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    cells: int,
    unordered: bool,
) -> NDArray[np.bool_]:
    """Return which exchanges concern pairs of cells that nothing else does, shape (pair,)."""

    def key(u: NDArray[np.int64], v: NDArray[np.int64]) -> NDArray[np.int64]:
        if unordered:
            u, v = np.minimum(u, v), np.maximum(u, v)
        return u * cells + v

    u, v = dyads.u, dyads.v
    old = key(u, v)  # of all dyads: what is not in an exchange must not be met either
    new = np.stack([key(u[first], v[second]), key(u[second], v[first])])
    every = np.concatenate([old, new.ravel()])
    every.sort()
    twice = every[1:][every[1:] == every[:-1]]

    def met(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        if not len(twice):
            return np.zeros(keys.shape, dtype=np.bool_)
        place = np.minimum(np.searchsorted(twice, keys), len(twice) - 1)
        same: NDArray[np.bool_] = twice[place] == keys
        return same

    loop = (u[first] == v[second]) | (u[second] == v[first])
    touched = met(new[0]) | met(new[1]) | met(old[first]) | met(old[second])
    free: NDArray[np.bool_] = ~(touched | loop)
    return free


def _spread(dyads: _Dyads, edges: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells of each edge, in the order in which counts and signs stand."""
    pre, post = np.empty(edges, dtype=np.int64), np.empty(edges, dtype=np.int64)
    pre[dyads.there], post[dyads.there] = dyads.u, dyads.v
    both = dyads.back >= 0
    pre[dyads.back[both]], post[dyads.back[both]] = dyads.v[both], dyads.u[both]
    return pre, post


def _pairs(
    connectome: Connectome,
    block: NDArray[np.int64] | None,
    random: np.random.Generator,
    swaps: float,
) -> tuple[Edges, int]:
    edges = connectome.electrical
    index: NDArray[Any] = np.arange(len(edges), dtype=np.int64)
    dyads = _Dyads(edges.pre.astype(np.int64), edges.post.astype(np.int64), index, index.copy())
    done = _shuffle(dyads, len(connectome), block, True, random, swaps)
    low, high = np.minimum(dyads.u, dyads.v), np.maximum(dyads.u, dyads.v)
    return Edges(low, high, edges.count), done
