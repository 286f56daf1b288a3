"""Neurons where they lie in the body, and names that cover neither neurons nor each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import shown
from elegans.errors import WiringError
from elegans.wiring.drawing.layout import RADIUS, NodePositions, Points
from elegans.wiring.wiring import Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from elegans.wiring.drawing.page import Page

_APART = (1.25, 1.15)  # of neighbours, along the body and across
_SLENDER = 0.35  # height of the body as a share of its length, where the neurons let it be so
_LENGTH = 4.0  # of the body, in roots of the number of neurons
_STRETCHES = (0.0, 0.2, 0.4, 0.6)
_SIDE = 1.3  # of the middle of a side, where nothing else tells how high a neuron lies
_OUTLINE = "#F1EEE8"

Box = tuple[float, float, float, float]


def check_positions(
    wiring: Wiring, positions: ArrayLike | None, sides: Sequence[str] | None
) -> tuple[Points, tuple[str, ...]] | None:
    """Return places (neuron, 1 to 3) and sides of the neurons, or None without places.

    Raises `WiringError` if they do not fit the wiring, or no neuron has a place.
    """
    if positions is None:
        if sides is not None:
            raise WiringError("got sides without positions, expected both; pass positions")
        return None
    try:
        places = np.asarray(positions, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WiringError(
            f"positions must be numbers of shape (neuron, 1 to 3), got {shown(positions)}"
        ) from error
    places = places[:, None] if places.ndim == 1 else places
    units = wiring.units
    if places.ndim != 2 or len(places) != units or not 1 <= places.shape[1] <= 3:
        raise WiringError(
            f"positions must hold 1 to 3 coordinates for each of the {units} neurons in the order "
            f"of wiring.names, got shape {places.shape}"
        )
    if np.isinf(places).any() or np.isnan(places).any(axis=1).all():
        raise WiringError(
            "positions must be finite, or NaN for a neuron whose place is not known, with a known "
            "one at least; leave them out"
        )
    texts = ("",) * units if sides is None else tuple(sides)
    if len(texts) != units or not set(texts) <= {"left", "right", ""}:
        raise WiringError(
            f"sides must be 'left', 'right' or '' for each of the {units} neurons, got "
            f"{shown(sides)}"
        )
    return places, texts


def body_positions(wiring: Wiring, places: Points, sides: Sequence[str]) -> NodePositions:
    """Place neurons along the body, inputs in a row below.

    The coordinate that differs most runs along the body, to the right. Across it is the side, left
    above, where sides are known; else the coordinate that differs second most. Neurons keep their
    order along the body; those that would cover each other give way across it. Crowded parts are
    stretched where the body would not be slender otherwise, as the head of a worm. A neuron without
    a place stands in a row below the inputs.
    """
    known: NDArray[np.bool_] = np.asarray(~np.isnan(places).any(axis=1))
    extent = np.ptp(places[known], axis=0)
    order = np.argsort(-extent, kind="stable")
    along = places[:, order[0]]
    along = (along - along[known].min()) / (extent[order[0]] or 1.0)
    side = np.array([{"left": 1.0, "right": -1.0}.get(text, 0.0) for text in sides])
    by_side = bool(side.any())
    across = np.zeros(wiring.units)
    if not by_side and len(order) > 1 and extent[order[0]] > 0:
        across = places[:, order[1]] - places[known, order[1]].mean()
        across = across / extent[order[0]]
    count = int(known.sum())
    length = _LENGTH * np.sqrt(count)
    wish = _SIDE * side if by_side else across * length
    spot = np.zeros((wiring.units, 2))
    rank = (np.argsort(np.argsort(along[known], kind="stable")) + 0.5) / count
    for stretch in _STRETCHES:
        places_along = (1 - stretch) * along[known] + stretch * rank
        spot[known] = _apart(length * places_along, wish[known])
        if np.ptp(spot[known, 1]) <= _SLENDER * length:
            break
    low = float(spot[known, 1].min())
    rest = np.flatnonzero(~known)
    first = np.full(wiring.input_size, np.nan)
    for j, i, _ in wiring.sensory:  # over the neuron that it drives first
        first[j] = spot[i, 0] if np.isnan(first[j]) and known[i] else first[j]
    first = np.where(np.isnan(first), 0.0, first)
    inputs = _apart(first, np.zeros(len(first)), down=True)
    inputs[:, 1] += low - 2.2
    row, column = np.divmod(np.arange(len(rest)), max(int(length / _APART[0]), 1))
    below = float(inputs[:, 1].min()) - 1.6
    spot[rest, 0], spot[rest, 1] = _APART[0] * column, below - _APART[1] * row
    position = np.concatenate([inputs, spot])
    position -= (position.max(axis=0) + position.min(axis=0)) / 2
    outward = np.tile([0.0, 1.0], (len(position), 1))
    return NodePositions(position, outward, np.full(len(position), -1), (), 0.0)


def _apart(x: NDArray[np.float64], y: NDArray[np.float64], *, down: bool = False) -> Points:
    """Return places at these x, as near to these y as neighbours let them be, (point, 2)."""
    wide, high = _APART
    placed: list[tuple[float, float]] = []
    found = np.empty((len(x), 2))
    for k in np.lexsort((np.abs(y), x)).tolist():
        near = [other[1] for other in placed if abs(other[0] - x[k]) < wide - 1e-9]
        tries = [float(y[k]), *(each - high for each in near)]
        tries += [] if down else [each + high for each in near]
        free = [t for t in tries if all(abs(t - each) >= high - 1e-9 for each in near)]
        # Sides stay apart: what belongs above gives way upwards, what belongs below downwards.
        own = [t for t in free if not y[k] or t * y[k] > 0] or free
        best = min(own, key=lambda t: (abs(t - y[k]), t))
        placed.append((float(x[k]), best))
        found[k] = x[k], best
    return found


def paint_outline(ax: Axes, position: Points) -> None:
    """Draw the body behind its neurons (neuron, 2)."""
    if len(position) < 2:
        return
    x = np.linspace(position[:, 0].min() - 1.2, position[:, 0].max() + 1.2, 160)
    near = np.abs(position[:, 0] - x[:, None]) <= 1.8
    middle = float(np.median(position[:, 1]))
    top = np.where(near, position[:, 1], middle + 0.2).max(axis=1)
    bottom = np.where(near, position[:, 1], middle - 0.2).min(axis=1)
    span = (x - x[0]) / (x[-1] - x[0])
    taper = np.sqrt(np.clip(np.minimum(span, 1 - span) * 25, 0, 1))  # round ends
    smooth = np.hanning(13) / np.hanning(13).sum()
    rim = [np.convolve(np.pad(edge, 6, mode="edge"), smooth, "valid") for edge in (top, bottom)]
    upper, lower = (
        middle + (edge + sign * 0.9 - middle) * taper
        for edge, sign in zip(rim, (1, -1), strict=True)
    )
    ax.fill_between(x, lower, upper, color=_OUTLINE, linewidth=0, zorder=0.1, gid="body")


def spread_labels(
    page: Page, texts: Mapping[int, str], size: float
) -> dict[int, tuple[float, float]]:
    """Return the lower left corner of the names for which there is room.

    A name stands below, above, right or left of its neuron, where it covers neither a neuron nor
    another name; one that finds no such place is left out. Neurons at the rim choose last, as they
    have most room.
    """
    from matplotlib.textpath import TextPath

    position = page.placement.position
    boxes = {k: TextPath((0, 0), text, size=size).get_extents() for k, text in texts.items()}
    per = page.scale
    gap = 0.12 * size / per
    order = np.argsort(np.linalg.norm(position - position.mean(axis=0), axis=1), kind="stable")
    taken: list[Box] = []
    found: dict[int, tuple[float, float]] = {}
    for k in order.tolist():
        if k not in texts:
            continue
        x, y = position[k]
        box = boxes[k]
        wide, high = box.width / per, box.height / per
        for left, low in (
            (x - wide / 2, y - RADIUS - gap - high),
            (x - wide / 2, y + RADIUS + gap),
            (x + RADIUS + gap, y - high / 2),
            (x - RADIUS - gap - wide, y - high / 2),
        ):
            room = (left, low, left + wide, low + high)
            if _is_free(room, taken, position, k):
                taken.append(room)
                found[k] = float(left - box.x0 / per), float(low - box.y0 / per)
                break
    return found


def _is_free(room: Box, taken: Sequence[Box], position: Points, own: int) -> bool:
    left, low, right, high = room
    for other in taken:
        if left < other[2] and other[0] < right and low < other[3] and other[1] < high:
            return False
    nearest = np.stack(
        [np.clip(position[:, 0], left, right), np.clip(position[:, 1], low, high)], axis=1
    )
    covered = ((nearest - position) ** 2).sum(axis=1) < RADIUS**2
    covered[own] = False
    return not covered.any()
