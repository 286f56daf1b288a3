"""Attractors that the trajectories of a run have reached: which members share one, and its kind.

A mean over members means something only on one attractor. Members are told apart by where they
ended, by whether they come back to where another one has been, and by their exponents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Kind = Literal["equilibrium", "cycle", "response", "aperiodic", "unsettled"]
"""Rest; periodic motion; the one trajectory that a signal forces; motion without a period that was
found; or no attractor that the run has reached."""

SETTLED = 1e-3
"""Largest distance left to go, relative to the states, of a trajectory that counts as settled."""

COINCIDING = 1e-6
"""Distance, relative to the states, below which two of them are the same."""

_TO_PATH = 0.25
"""Largest distance from the path of a cycle, in segments of it: sampled curves have corners."""

_MOST_LAGS = 512


@dataclass(frozen=True, eq=False)
class Group:
    """Members on one attractor."""

    members: Tensor
    """Their places in the batch, (member,)."""
    kind: Kind
    period: float | None = None
    """In steps of the motion, of a cycle."""


class Courses(NamedTuple):
    """Trajectories to be told apart; all tensors are in float64 on the CPU."""

    states: Tensor
    """The last states of each, one a step, (step, batch, neuron)."""
    start: Tensor
    """Where they began, before any transient, (batch, neuron)."""
    exponents: Tensor
    """Of each member, (batch, exponent)."""
    errors: Tensor
    """Half-widths of 95 % intervals from each member's own course, (batch, exponent)."""
    alive: Tensor
    """Members that stayed within the finite numbers, (batch,)."""
    steps: int
    """Steps that were measured."""
    length: float
    """Time that a step lasts."""
    precision: float
    """Precision of the numbers that the motion computes with."""
    tolerance: float
    """Share of an exponent that does not matter."""

    def size(self, member: int) -> float:
        """Return the size of a trajectory's last states, and a trace of where it began."""
        trace = 1e-6 * float(self.start[member].abs().max())
        return float(self.states[:, member].abs().max()) + trace

    def coinciding(self, member: int, other: int) -> float:
        """Return the distance below which states of two members are the same."""
        relative = max(COINCIDING, 64 * self.precision)
        return relative * max(self.size(member), self.size(other))

    def growth(self, member: int) -> int:
        """Return -1 where neighbours of a member approach it, 1 where they part, else 0.

        Nothing is told from less than a factor of e over the whole run.
        """
        largest = int(self.exponents[member].argmax())
        value = float(self.exponents[member, largest])
        least = max(float(self.errors[member, largest]), 1 / (self.steps * self.length))
        return 0 if abs(value) <= least else int(math.copysign(1, value))

    def left(self, member: int, lag: int) -> float:
        """Return the distance left to go, were each `lag` steps as much shorter as differences."""
        path = self.states[:, member]
        shrinks = -math.expm1(float(self.exponents[member].max()) * lag * self.length)
        moved = float((path[-1] - path[-1 - lag]).abs().max())
        return moved / shrinks if shrinks > 0 else math.inf


def group_members(courses: Courses, *, steady: bool, shared: bool) -> list[Group]:
    """Return the attractors that members have reached, and those that have reached none.

    Parameters
    ----------
    courses
        The trajectories.
    steady
        Whether what drives the motion, if anything, does not change in time.
    shared
        Whether it is the same for all members. Where it is not, exponents alone tell them apart.
    """
    alive = [int(member) for member in courses.alive.nonzero()]
    if not shared:
        return [Group(each, "response") for each in _alike(courses, alive)]
    groups: list[Group] = []
    moving: list[int] = []
    unsettled: list[int] = []
    waiting = alive
    while waiting:
        first, waiting = waiting[0], waiting[1:]
        kind, period = _kind(courses, first, steady)
        if kind in ("aperiodic", "unsettled"):
            (moving if kind == "aperiodic" else unsettled).append(first)
            continue
        same, others = [first], list[int]()
        for member in waiting:
            relation = _relation(courses, first, member, kind, period)
            {"same": same, "other": others, "unsettled": unsettled}[relation].append(member)
        groups.append(Group(torch.tensor(same), kind, period))
        waiting = others
    groups = _with_moving(courses, groups, moving, steady)
    return groups + [Group(each, "unsettled") for each in _alike(courses, unsettled)]


def _with_moving(
    courses: Courses, groups: list[Group], moving: list[int], steady: bool
) -> list[Group]:
    """Return the groups, and those of members that move on without a period.

    Where these are chaotic, a cycle among them that nothing sets apart is a calm piece of chaos.
    """
    if not moving:
        return groups
    free = [group for group in groups if _is_free(courses, group)]
    found = [group for group in groups if not _is_free(courses, group)]
    pool = sorted(moving + [int(member) for group in free for member in group.members])
    places = _alike(courses, pool, apart=True)
    for members in places:
        chosen = set(members.tolist())
        if chosen.isdisjoint(moving):
            found += [group for group in free if int(group.members[0]) in chosen]
            continue
        growth = _growth_of(courses, members)
        if growth > 0:
            kept: list[Group] = []
        else:
            kept = [group for group in free if int(group.members[0]) in chosen]
            chosen &= set(moving)
        members = torch.tensor(sorted(chosen))
        # Under a signal, places that differences neither leave nor enter hold what was put there.
        stays = growth == 0 and not steady and len(places) > 1
        gone = stays or _leaves(courses, members, growth)
        kind: Kind = "unsettled" if gone else "aperiodic"
        found += [*kept, Group(members, kind)]
    return found


def _is_free(courses: Courses, group: Group) -> bool:
    """Whether members go round a cycle at any phase."""
    return group.kind == "cycle" and courses.growth(int(group.members[0])) == 0


def _growth_of(courses: Courses, members: Tensor) -> int:
    """Return -1, 0 or 1 as `Courses.growth`, of the mean over members that move independently."""
    exponents = courses.exponents[members].mean(0)
    largest = int(exponents.argmax())
    error = float(courses.errors[members, largest].square().mean()) ** 0.5 / len(members) ** 0.5
    value = float(exponents[largest])
    return 0 if abs(value) <= error else int(math.copysign(1, value))


def _leaves(courses: Courses, members: Tensor, growth: int) -> bool:
    """Whether members are elsewhere in the later half of their course than in the earlier."""
    path = courses.states[:, members]
    earlier, later = path[: len(path) // 2], path[len(path) // 2 :]
    if bool(
        (
            (later.amin((0, 1)) > earlier.amax((0, 1)))
            | (later.amax((0, 1)) < earlier.amin((0, 1)))
        ).any()
    ):
        return True
    if growth > 0:  # chaos may be anywhere on its attractor, but does not leave
        return float(later.abs().max()) > 2 * float(earlier.abs().max())
    drifts = (later.std((0, 1)) - earlier.std((0, 1))).abs()
    drifts = drifts + (later.mean((0, 1)) - earlier.mean((0, 1))).abs()
    return bool((drifts > 0.2 * path.std((0, 1))).any())


def _kind(courses: Courses, member: int, steady: bool) -> tuple[Kind, float | None]:
    """Return what a trajectory has settled on by itself, and the period of a cycle in steps."""
    growth, path, size = courses.growth(member), courses.states[:, member], courses.size(member)
    if growth < 0 and not steady:
        return "response", None
    if growth < 0:
        if courses.left(member, 1) <= SETTLED * size:
            return "equilibrium", None
        for lag in range(2, min(len(path) // 2, _MOST_LAGS)):
            if courses.left(member, lag) <= 1e-2 * SETTLED * size:
                return "cycle", float(lag)
        return "unsettled", None
    if float((path.amax(0) - path.amin(0)).max()) <= SETTLED * size:
        return "unsettled", None  # it rests, but nothing draws it there
    period = period_of(path) if steady and growth == 0 else None
    return ("aperiodic" if period is None else "cycle"), period


def _relation(
    courses: Courses, first: int, member: int, kind: Kind, period: float | None
) -> Literal["same", "other", "unsettled"]:
    """Return whether a member is on the attractor of another one, by where it ended."""
    here, there = courses.states[:, first], courses.states[:, member]
    close = courses.coinciding(first, member)
    if kind == "response":
        apart = (here - there).abs().amax(-1)
        if float(apart[-1]) <= close:
            return "same"
        approaching = float(apart[-1]) < 0.5 * float(apart[len(apart) // 2])
        return "unsettled" if approaching or courses.growth(member) >= 0 else "other"
    if kind == "cycle" and courses.growth(first) == 0 and period is not None:
        last = there[-max(1, math.ceil(period)) :]
        queries = last[:: max(1, len(last) // 8)]
        distance, segment = _from_path(queries, here[-math.ceil(2 * period) - 1 :])
        return "same" if bool((distance <= _TO_PATH * segment + close).all()) else "other"
    lag = 1 if period is None else round(period)
    nearest = (here[-lag:] - there[-1]).abs().amax(-1).min()
    if courses.growth(member) < 0:
        close += courses.left(first, lag) + courses.left(member, lag)
    return "same" if float(nearest) <= close else "other"


def _alike(courses: Courses, members: list[int], *, apart: bool = False) -> list[Tensor]:
    """Return members in groups whose exponents differ by more than their own courses explain.

    With `apart`, groups that move in different places are told apart, too.
    """
    if not members:
        return []
    values, errors = courses.exponents[members], courses.errors[members]
    slack = 2 * errors + courses.tolerance / 2 * values.abs().amax(-1, keepdim=True)
    slack = slack + 0.5 / (courses.steps * courses.length)
    low, high = values - slack, values + slack
    if apart:
        mean, spread = courses.states[:, members].mean(0), courses.states[:, members].std(0)
        low = torch.cat([low, mean - 2 * spread], -1)
        high = torch.cat([high, mean + 2 * spread], -1)
    labels = torch.unique(_overlapping(low, high), dim=0, return_inverse=True)[1]
    places = torch.tensor(members)
    return [places[labels == label] for label in labels.unique().tolist()]


def _overlapping(low: Tensor, high: Tensor) -> Tensor:
    """Return for each column which chain of overlapping intervals each row is in, (row, column)."""
    order = low.argsort(dim=0, stable=True)
    reach = high.gather(0, order).cummax(0).values
    begins = torch.zeros_like(order)
    begins[1:] = (low.gather(0, order)[1:] > reach[:-1]).long()
    return torch.zeros_like(order).scatter(0, order, begins.cumsum(0))


def _from_path(points: Tensor, path: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance of points from a polygon, and the length of its nearest edge."""
    begin, edge = path[:-1], path[1:] - path[:-1]  # (edge, neuron)
    square = edge.square().sum(-1).clamp_min(torch.finfo(path.dtype).tiny)
    from_begin = points.unsqueeze(1) - begin  # (point, edge, neuron)
    along = ((from_begin * edge).sum(-1) / square).clamp(0.0, 1.0)
    distance = torch.linalg.vector_norm(from_begin - along.unsqueeze(-1) * edge, dim=-1)
    least = distance.min(-1)
    return least.values, square.sqrt()[least.indices]


def period_of(path: Tensor) -> float | None:
    r"""Return the period of a path in steps, to a fraction of one; None where it has none.

    The mean square of :math:`x_{t + L} - x_t` over t is 0 for a whole number of periods L. Its
    first minimum near 0 counts, if all multiples in the path are as near; parabolas go through
    neighbouring lags. A path of less than three periods, or one that is sampled less than about
    five times in one, has no period that is found.

    Parameters
    ----------
    path
        Shape (step, neuron).

    Examples
    --------
    >>> turns = torch.arange(200.0).unsqueeze(-1) / 17.3
    >>> round(period_of(torch.sin(2 * torch.pi * turns)), 2)
    17.3
    """
    most = len(path) // 3
    if most < 4:
        return None
    x = path.double() - path.double().mean(0)
    size = 2 * float(x.square().sum(-1).mean())
    if size == 0:
        return None
    apart = (
        torch.stack(
            [(x[lag:] - x[: len(x) - lag]).square().sum(-1).mean() for lag in range(most + 1)]
        )
        / size
    )  # (lag,), about 1 for unrelated states
    allowed = min(0.05, max(0.1 * float(apart[1]), 1e-6))
    minima = _minima(apart, allowed)
    if not minima:
        return None
    first = minima[0][0]
    for multiple in range(2, int(most / first) + 1):
        near = [lag for lag, _ in minima if abs(lag - multiple * first) < max(0.5, 0.02 * lag)]
        if not near and multiple * first <= most - 1:
            return None
        if near:
            first = near[0] / multiple  # a later one tells the period more closely
    return first


def _minima(values: Tensor, allowed: float) -> list[tuple[float, float]]:
    """Return place and value of each minimum of at most `allowed`, by parabolas."""
    found = []
    a, b, c = values[:-2], values[1:-1], values[2:]
    for place in ((b <= a) & (b < c)).nonzero().flatten().tolist():
        left, middle, right = float(a[place]), float(b[place]), float(c[place])
        shift = 0.5 * (left - right) / (left - 2 * middle + right)
        value = middle - 0.25 * (left - right) * shift
        if value <= allowed:
            found.append((place + 1 + shift, value))
    return found
