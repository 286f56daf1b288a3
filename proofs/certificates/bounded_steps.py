"""The longest steps of a liquid circuit's solver that are proved to contract."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from torch import nn

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.proofs.certificates.bound import ContractionBound, fingerprint_of
from elegans.proofs.certificates.bounding import refused
from elegans.proofs.certificates.certificate import NotCertified, StepFigures
from elegans.proofs.certificates.certification import (
    RATE_FRACTION,
    elapsed_lengths,
    norms_of,
    precondition,
    solver_of,
)
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.explicit_steps import LiquidFlow, explicit_step
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import (
    Array,
    Box,
    Network,
    Range,
    given_range,
    liquid_cell,
    require_between,
)
from elegans.proofs.certificates.perron import best_rates
from elegans.proofs.certificates.proved_steps import (
    ProvedStep,
    StateBox,
    longest_proved,
    shorter_steps,
    too_long,
)
from elegans.proofs.certificates.region import region_of
from elegans.proofs.certificates.step_words import MOST_STAGES, step_words
from elegans.proofs.certificates.stepping import Lengths, StepRows, best_step, longest_step

_SHARPEST = 0.999
_CLOSE = 1e-4
"""Share to which the longest step is found."""


@checked(InputError)
def step_bound(
    model: nn.Module,
    inputs: Range,
    *,
    elapsed: float | tuple[float, float] = 1.0,
    rate_fraction: float = RATE_FRACTION,
    advice: bool = True,
) -> ContractionBound | NotCertified:
    r"""Bound the steps of the solver of a liquid circuit, and find the longest that contract.

    .. math:: \max_i \frac{|x^+_i - y^+_i|}{\eta_i} \le \kappa \max_i \frac{|x_i - y_i|}{\eta_i}

    for one unfold from x to x+ and from y to y+ under the same input, all states of a box that no
    step leaves, and all lengths of a range. `elegans.proofs.certify` proves the same of the solvers
    ``semi_implicit``, ``exponential`` and ``euler`` in a form that can be saved and checked; here
    are the explicit Runge-Kutta methods as well, ``rk4``, ``midpoint`` and tableaus of one's own,
    and the largest safe step.

    Parameters
    ----------
    model
        A layer of liquid synapses without mixed memory, or its cell.
    inputs
        Lowest and highest input as the layer is given them: two numbers or two arrays (input,).
    elapsed
        Time that a step of the layer lasts, or the shortest and the longest one.
    rate_fraction
        Share of the distance between the least factor and 1 that is asked for, above 0 and below
        1, see `elegans.proofs.certify`.
    advice
        Whether the longest step is looked for, and what would pass where nothing does.

    Returns
    -------
    ContractionBound or NotCertified
        Level ``"float"``: double precision with an allowance for rounding. A bound whose `step` is
        None is about the differential equation alone, and its `reason` names the longest step that
        is proved; it is false in a condition only where the flow is not proved to contract either.

    Raises
    ------
    InputError
        The model is of another kind or runs otherwise than its equation, a parameter is not finite,
        or an argument is not valid.

    Notes
    -----
    The derivation is in `elegans.proofs.certificates.explicit_steps`. `longest_step` is the length
    of an unfold. Of steps that would contract longer ones are refused: the Jacobians of
    the stages are taken as independent of each other.

    Examples
    --------
    >>> import torch
    >>> from elegans import LTC
    >>> from elegans.wiring import AutoNCP
    >>> _ = torch.manual_seed(2)
    >>> model = LTC(2, AutoNCP(12, 2, seed=2), solver="rk4", ode_unfolds=10)
    >>> bound = step_bound(model, (-1, 1))
    >>> bound.step.solver, bound.kappa < 1, bound.longest_step > 0.1
    ('rk4', True, True)
    """
    lengths = elapsed_lengths(elapsed)
    require_between("rate_fraction", rate_fraction, 0.0, 1.0)
    cell = liquid_cell(model)
    network = Network.of(model)
    given = given_range(inputs, len(network.scale))
    broken = precondition(network, given)
    if broken is None and network.electrical is not None:
        broken = (
            f"the circuit has {len(network.electrical.weight)} gap junctions, of which nothing is "
            "derived here; certify covers the differential equation and three solvers"
        )
    if broken is not None:
        return NotCertified(broken, "float")
    seen = network.range_of(inputs)

    def flow(candidate: Network, box: Box | None = None) -> tuple[Rows, Box, Array, float]:
        box = region_of(candidate, seen, "interval").box if box is None else box
        rows = Rows.of(candidate, box, GateRanges.over(candidate, box, seen))
        components = best_rates(rows)
        norms = norms_of(rows, components, rate_fraction)
        return rows, box, *(norms[0] if norms else (components.eta, components.best_rate))

    rows, box, eta, rate = flow(network)
    if not rate > 0:

        def passes(factor: float) -> bool:
            return flow(network.scaled(factor))[-1] > 0

        what = f"the worst rate in the box is {rate:.4g}, expected above 0"
        return refused(LiquidFlow(rows), eta, what, rate, passes if advice else None)
    unfolds, name = cell.ode_unfolds, cell.solver.name
    between = lengths[0] / unfolds, lengths[1] / unfolds
    prover = _prover(model, network, seen)
    step, longest = None, None
    if prover is None:
        reason = (
            f"nothing is known of the step of the solver {name!r}, expected 'semi_implicit', "
            f"'exponential' or an explicit Runge-Kutta method of up to {MOST_STAGES} stages"
        )
    else:
        proved = prover(rate_fraction, (eta,), between)
        wider = (box, eta, rate)
        if proved is not None:  # one box for both
            wider = flow(network, proved.states.box)[1:]
        if proved is None or not wider[-1] > 0:
            reason = _too_long(prover, name, between, eta, advice=advice)
        else:
            reason, (box, eta, rate) = "", wider
            step = StepFigures(name, unfolds, *between, proved.eta, proved.kappa)
            if advice:
                longest = _longest(prover, between[0], proved, between[1])
    return ContractionBound(
        "liquid", rate, eta, box, given, step, longest, reason, fingerprint_of(model)
    )


class _Prover(Protocol):
    def __call__(
        self,
        fraction: float,
        start: tuple[Array, ...],
        lengths: Lengths,
        *,
        best: bool = True,
    ) -> ProvedStep | None: ...


def _prover(model: nn.Module, network: Network, seen: Box) -> _Prover | None:
    """Return what proves something of steps of the solver, None where nothing is known of it."""
    words = step_words(liquid_cell(model).solver)
    if words is not None:
        return partial(explicit_step, network, seen, words)
    name = solver_of(model)
    return None if name is None else partial(_smooth_step, network, seen, name)


def _smooth_step(
    network: Network,
    inputs: Box,
    solver: str,
    fraction: float,
    start: tuple[Array, ...],
    lengths: Lengths,
    *,
    best: bool = True,
) -> ProvedStep | None:
    """Return the factor of semi-implicit or exponential steps, see `stepping`."""
    region = region_of(network, inputs, "interval")
    if lengths[1] > longest_step(network, region.box, region.gates, solver):
        return None
    rows = StepRows.of(network, region.box, region.gates, longest=lengths[1], solver=solver)
    states, kappa = StateBox(region.box, region.box), float(rows.factors(start[0], lengths).max())
    if not best and kappa < 1:
        return ProvedStep(kappa, start[0], states)
    found = best_step(rows, lengths, fraction, start[0])
    return found and ProvedStep(found[1], found[0], states)


def _longest(prover: _Prover, shortest: float, proved: ProvedStep, known: float) -> float:
    """Return up to which length steps are proved to contract, at least the `known` one."""

    def holds(length: float) -> bool:
        between = shortest, length
        return prover(_SHARPEST, (proved.eta,), between, best=False) is not None

    return longest_proved(holds, known, tolerance=_CLOSE)


def _too_long(prover: _Prover, name: str, lengths: Lengths, eta: Array, *, advice: bool) -> str:
    """Return why nothing is proved of steps, and of what lengths it would be."""
    if not advice:
        return too_long(name, lengths, None, "take more unfolds")
    shorter = shorter_steps(partial(prover, _SHARPEST, (eta,)), lengths)
    if shorter is None:
        return too_long(name, lengths, None, "take the solver 'semi_implicit'")
    (low, length), proved = shorter
    return too_long(name, lengths, _longest(prover, low, proved, length), "")
