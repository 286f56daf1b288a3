"""Positions of neurons in a picture, and the shapes of the synapses between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from elegans.errors import MissingExtraError, WiringError
from elegans.wiring.wiring import SENSORY, Wiring

RADIUS = 0.3  # of a neuron; neighbours in a column are 1 apart
_ROWS = 48  # a layer with more neurons than these is folded into several columns
_SPREAD = 2.2  # largest distance of neighbours in a column
_LOOP_SPREAD = 1.4  # smallest one where neurons have synapses onto themselves
_RING_GAP = 1.8
_RING_LAYER = 1.5  # a layer with more inner synapses a neuron stands as a ring
_SWEEPS = 12

Points = NDArray[np.float64]


@dataclass(frozen=True)
class NodePositions:
    """Positions of all neurons, the sensory ones first, in units of their distance.

    Attributes
    ----------
    position
        Shape (sensory + neuron, 2).
    outward
        Direction in which a synapse of a neuron onto itself stands, shape (sensory + neuron, 2).
    group
        Number of the column of each neuron, shape (sensory + neuron,), -1 outside columns.
    columns
        Name and horizontal centre of each column, empty unless the layout is layered.
    gap
        Distance of neighbouring columns.
    """

    position: Points
    outward: Points
    group: NDArray[np.int64]
    columns: tuple[tuple[str, float], ...]
    gap: float


def place(wiring: Wiring, layout: str, edges: NDArray[np.int64]) -> NodePositions:
    """Place the neurons of `wiring`.

    Parameters
    ----------
    wiring
        The circuit.
    layout
        ``"layered"`` or the name of a layout of NetworkX.
    edges
        Synapses to take into account, shape (synapse, 2), numbered as in `Placement`.

    Raises
    ------
    WiringError
        There is no such layout.
    MissingExtraError
        The layout needs SciPy, which is not installed.
    """
    if layout == "layered":
        return _layered(wiring, edges)
    if layout not in _NETWORKX:
        raise WiringError(f"no layout {layout!r}; the layouts are {list(LAYOUTS)}")
    graph = nx.Graph()
    count = wiring.input_size + wiring.units
    graph.add_nodes_from(range(count))
    graph.add_edges_from(edges[edges[:, 0] != edges[:, 1]].tolist())
    try:
        placed = _NETWORKX[layout](wiring, graph)
    except ImportError as error:
        raise MissingExtraError(
            f"layout {layout!r} of {count} neurons needs SciPy ({error}): pip install scipy, or "
            "take layout='layered'"
        ) from error
    position = np.array([placed[node] for node in range(count)], dtype=np.float64).reshape(-1, 2)
    position -= (position.max(axis=0) + position.min(axis=0)) / 2
    if layout != "shell":  # it has its scale already
        size = _ring_radius(count) if layout == "circular" else 0.9 * np.sqrt(count)
        position *= max(float(size), 1.5) / max(float(np.abs(position).max()), 1e-9)
    norm = np.linalg.norm(position, axis=1, keepdims=True)
    outward = np.where(norm > 1e-6, position / np.maximum(norm, 1e-6), [0.0, 1.0])
    return NodePositions(position, outward, np.full(count, -1), (), 0.0)


def members(wiring: Wiring) -> dict[str, range]:
    """Return the neurons of each layer from the input to the output."""
    layers = {SENSORY: range(wiring.input_size)}
    for layer in reversed(list(wiring.layers)):
        inside = wiring.layer_range(layer)
        shift = wiring.input_size
        layers[layer] = range(inside.start + shift, inside.stop + shift)
    return layers


def _shells(wiring: Wiring, graph: nx.Graph) -> dict[int, Points]:
    """Layers as rings, the motor neurons in the middle."""
    placed: dict[int, Points] = {}
    radius = -_RING_GAP
    for neurons in reversed(members(wiring).values()):
        alone = len(neurons) == 1 and not placed
        radius = 0.0 if alone else max(radius + _RING_GAP, _ring_radius(len(neurons)))
        placed.update(zip(neurons, _ring(len(neurons), radius), strict=True))
    return placed


def _ring_radius(count: int) -> float:
    return max(1.0, count * 1.25 / (2 * np.pi))


def _ring(count: int, radius: float) -> Points:
    """Return points on a circle, clockwise from the top, shape (count, 2)."""
    angle = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _by(draw: Callable[..., dict[int, Points]]) -> Callable[[Wiring, nx.Graph], dict[int, Points]]:
    return lambda wiring, graph: draw(graph)


_NETWORKX: dict[str, Callable[[Wiring, nx.Graph], dict[int, Points]]] = {
    "shell": _shells,
    "spring": _by(partial(nx.spring_layout, seed=0, iterations=100)),
    "kamada_kawai": _by(nx.kamada_kawai_layout),
    "circular": _by(nx.circular_layout),
    "spectral": _by(nx.spectral_layout),
    "spiral": _by(nx.spiral_layout),
    "random": _by(partial(nx.random_layout, seed=0)),
}
LAYOUTS = ("layered", *_NETWORKX)


def _layered(wiring: Wiring, edges: NDArray[np.int64]) -> NodePositions:
    layers = members(wiring)
    count = wiring.input_size + wiring.units
    group = np.empty(count, dtype=np.int64)
    for k, inside in enumerate(layers.values()):
        group[inside.start : inside.stop] = k
    order = _untangled([np.array(neurons) for neurons in layers.values()], group, edges)

    inner = edges[group[edges[:, 0]] == group[edges[:, 1]]]
    loops = np.bincount(group[inner[inner[:, 0] == inner[:, 1], 0]], minlength=len(layers))
    others = np.bincount(group[inner[:, 0]], minlength=len(layers)) - loops
    sizes = np.array([len(neurons) for neurons in order])
    ring = (others > _RING_LAYER * sizes) & (sizes > 3) & (sizes <= _ROWS)
    fold = np.where(ring, 1, -(-sizes // _ROWS))
    rows = -(-sizes // fold)
    least = np.where(loops > 0, _LOOP_SPREAD, 1.0)
    heights = np.where(ring, [2 * _ring_radius(size) for size in sizes], least * (rows - 1))
    height = float(heights.max())
    # A small ring beside high columns grows, so that its chords come apart.
    heights = np.where(ring, np.clip(0.7 * height, heights, 2 * heights), heights)
    gap = max(3.5, 0.36 * height)

    position = np.empty((count, 2))
    outward = np.tile([0.0, 1.0], (count, 1))
    columns = []
    x = 0.0
    for k, (name, neurons) in enumerate(zip(layers, order, strict=True)):
        if ring[k]:
            radius = heights[k] / 2
            outward[np.sort(neurons)] = _ring(len(neurons), 1.0)
            position[neurons] = [x + radius, 0.0] + radius * outward[neurons]
            group[neurons] = -1
            width = 2 * radius
        else:
            row, column = np.divmod(np.arange(len(neurons)), fold[k])
            spread = min(height / max(rows[k] - 1, 1), _SPREAD)
            stagger = 0.5 * (column % 2) - 0.25 * (fold[k] > 1)
            position[neurons, 0] = x + column
            position[neurons, 1] = spread * ((rows[k] - 1) / 2 - row - stagger)
            width = fold[k] - 1.0
        columns.append((name, float(x + width / 2)))
        x += width + gap
    return NodePositions(position, outward, group, tuple(columns), gap)


def _untangled(
    layers: list[NDArray[np.int64]], group: NDArray[np.int64], edges: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Order the hidden layers so that synapses cross less: the barycentre method.

    Inputs and outputs keep their order, which means something to the reader.
    """
    height = np.empty(len(group))  # of each neuron, from 0 to 1

    def stand(neurons: NDArray[np.int64]) -> None:
        height[neurons] = (np.arange(len(neurons)) + 0.5) / len(neurons)

    for neurons in layers:
        stand(neurons)
    across = edges[group[edges[:, 0]] != group[edges[:, 1]]]
    if not len(across) or len(layers) < 3:
        return layers
    both = np.concatenate([across, across[:, ::-1]])  # rows (neuron, neighbour)
    behind = group[both[:, 1]] < group[both[:, 0]]
    best, best_length = list(layers), np.inf
    current = list(layers)
    hidden = range(1, len(layers) - 1)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        pairs = both[behind == forward]
        degree = np.bincount(pairs[:, 0], minlength=len(group))
        for k in hidden if forward else reversed(hidden):
            total = np.bincount(pairs[:, 0], weights=height[pairs[:, 1]], minlength=len(group))
            mean = np.where(degree > 0, total / np.maximum(degree, 1), height)
            current[k] = current[k][np.argsort(mean[current[k]], kind="stable")]
            stand(current[k])
        length = float(np.abs(height[across[:, 0]] - height[across[:, 1]]).sum())
        if length < best_length - 1e-9:
            best, best_length = list(current), length
    return best


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
    lines = bezier(
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


def bezier(p0: Points, p1: Points, p2: Points, p3: Points, points: int) -> Points:
    """Return cubic curves (curve, points, 2) with ends and control points of shape (curve, 2)."""
    t = np.linspace(0, 1, points)[None, :, None]
    curve: Points = (
        (1 - t) ** 3 * p0[:, None]
        + 3 * (1 - t) ** 2 * t * p1[:, None]
        + 3 * (1 - t) * t**2 * p2[:, None]
        + t**3 * p3[:, None]
    )
    return curve
