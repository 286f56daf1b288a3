"""The shapes of synapses in a picture: curves, loops, arrow heads and bars.

Everything is computed for all synapses at once; each synapse becomes one polyline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elegans.wiring.drawing.layout import RADIUS, NodePositions, Points

_GAP = 0.05  # between the head of a synapse and its target
_HEAD = 0.21  # length of an arrow head
_HALF_WIDTH = 0.085  # of an arrow head
_HALF_BAR = 0.13
_BEND = 0.05  # how far a synapse swings out, as a share of its length
_ARC_BEND = 0.34  # the same inside a layer


@dataclass(frozen=True)
class Curves:
    """Polylines of synapses and their heads.

    Attributes
    ----------
    lines
        Shape (synapse, point, 2).
    heads
        Arrow heads of excitatory synapses, shape (excitatory, 3, 2).
    bars
        Bars of inhibitory synapses, shape (inhibitory, 2, 2).
    """

    lines: Points
    heads: Points
    bars: Points


def curves(
    placement: NodePositions,
    edges: NDArray[np.int64],
    polarity: NDArray[np.int8],
    *,
    with_heads: bool,
) -> Curves:
    """Return the shapes of synapses, edges of shape (synapse, 2) in the placement's numbers.

    Every synapse swings out to the left of its way, so that two neurons that reach each other
    are joined by two curves and not by one; parallel synapses swing out further and further.
    """
    rank = _parallel_rank(edges)
    start, end = placement.position[edges[:, 0]], placement.position[edges[:, 1]]
    loop = edges[:, 0] == edges[:, 1]
    along = end - start  # (synapse, 2)
    length = np.linalg.norm(along, axis=1)
    left = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(length, 1e-9)[:, None]
    group = placement.group
    inside = (group[edges[:, 0]] == group[edges[:, 1]]) & (group[edges[:, 0]] >= 0)
    arc = np.minimum(0.3 + _ARC_BEND * length, placement.gap)
    swing = np.where(inside, arc, np.minimum(2 * _BEND * length, 0.5)) + 0.35 * rank
    control = (start + end) / 2 + swing[:, None] * left

    # (synapse, 4, 2): the two ends and the two control points of cubic Bézier curves
    size = (1 + 0.45 * rank)[:, None]
    outward = placement.outward[edges[:, 0]]
    first = np.where(loop[:, None], start + 1.15 * size * _turned(outward, 48), control)
    last = np.where(loop[:, None], start + 1.15 * size * _turned(outward, -48), control)
    leaving, arriving = _unit(first - start), _unit(end - last)
    excitatory = polarity > 0
    tip = end - (RADIUS + _GAP * with_heads) * arriving
    neck = tip - (0.8 * _HEAD * with_heads) * excitatory[:, None] * arriving
    begin = start + 0.9 * RADIUS * leaving
    # A quadratic curve for synapses, raised to cubic; loops are cubic from the outset.
    reach = np.where(loop, 1.0, 2 / 3)[:, None]
    lines = _bezier(
        begin,
        begin + reach * (first - begin),
        neck + reach * (last - neck),
        neck,
        points=24 if len(edges) <= 2000 else 10,
    )
    across = np.stack([-arriving[:, 1], arriving[:, 0]], axis=1)
    if not with_heads:
        return Curves(lines, np.empty((0, 3, 2)), np.empty((0, 2, 2)))
    base = tip - _HEAD * arriving
    heads = np.stack([tip, base + _HALF_WIDTH * across, base - _HALF_WIDTH * across], axis=1)
    bars = np.stack([tip - _HALF_BAR * across, tip + _HALF_BAR * across], axis=1)
    return Curves(lines, heads[excitatory], bars[~excitatory])


def _parallel_rank(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count, for each synapse, the earlier ones of the same source and target."""
    order = np.lexsort((edges[:, 0], edges[:, 1]))
    ordered = edges[order]
    new = np.ones(len(edges), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place = np.arange(len(edges))
    rank = np.empty(len(edges), dtype=np.int64)
    rank[order] = place - np.maximum.accumulate(np.where(new, place, 0))
    return rank


def _unit(vectors: Points) -> Points:
    norm: Points = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norm, 1e-9)


def _turned(vectors: Points, degrees: float) -> Points:
    angle = np.deg2rad(degrees)
    matrix: Points = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: Points = vectors @ matrix
    return turned


def _bezier(p0: Points, p1: Points, p2: Points, p3: Points, points: int) -> Points:
    t = np.linspace(0, 1, points)[None, :, None]
    curve: Points = (
        (1 - t) ** 3 * p0[:, None]
        + 3 * (1 - t) ** 2 * t * p1[:, None]
        + 3 * (1 - t) * t**2 * p2[:, None]
        + t**3 * p3[:, None]
    )
    return curve
