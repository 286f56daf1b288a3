"""Certification, in double precision, of the circuits that the verifier has no equation for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from elegans.errors import InputError
from elegans.layers.capabilities import LiquidCircuit, PlainNumbers, cell_of, offers
from elegans.proofs.certificates.bound import (
    EQUATIONS,
    MAP,
    ContractionBound,
    fingerprint_of,
    input_map,
)
from elegans.proofs.certificates.certificate import NotCertified, StepFigures
from elegans.proofs.certificates.closed_forms import (
    ClosedNetwork,
    DenseNetwork,
    WiredNetwork,
    times_of,
)
from elegans.proofs.certificates.firing_rates import (
    FlowBound,
    RateNetwork,
    longest_step,
    prove_step,
    state_box,
)
from elegans.proofs.certificates.leaky_steps import leaky_steps
from elegans.proofs.certificates.network import (
    SLACK,
    Array,
    Box,
    Range,
    examined_cell,
    given_range,
)
from elegans.proofs.certificates.proved_steps import ProvedStep, shorter_steps, too_long
from elegans.proofs.certificates.stepping import Lengths
from elegans.proofs.certificates.weighted_norms import RowBound, best_weights
from elegans.solvers import Solver
from elegans.synapses.plain import PlainStep

_SCALES = 12


def is_bounded(model: nn.Module) -> bool:
    """Whether `model` is a layer or cell of an equation that `bound_of` knows."""
    cell = cell_of(model)
    if offers(cell, LiquidCircuit) or not offers(cell, PlainNumbers):
        return False
    return _has_values(cell) and cell.plain_step().equation in EQUATIONS


def bound_of(
    model: nn.Module, inputs: Range, lengths: Lengths, fraction: float, *, advice: bool
) -> ContractionBound | NotCertified:
    """Return the bound of a CT-RNN or CfC, or why there is none; see `elegans.proofs.certify`.

    `lengths` are the shortest and the longest elapsed time.

    Raises
    ------
    InputError
        What runs may not be the equation, or a parameter is not finite.
    """
    cell = examined_cell(model, PlainNumbers)
    if model.training and getattr(cell, "backbone_dropout", 0.0) > 0:
        raise InputError(
            "got a layer that silences units of its backbone by chance, expected one without: "
            "nothing is known of that; call model.eval()"
        )
    step = cell.plain_step()
    _require_finite(step)
    given = given_range(inputs, cell.sensory_size)
    scale, shift = input_map(cell.input_mapping, cell.sensory_size)
    ends = np.stack([scale * given.lo, scale * given.hi])
    slack = SLACK * (np.abs(ends).max(axis=0, initial=0.0) + np.abs(shift))
    seen = Box(ends.min(axis=0) + shift - slack, ends.max(axis=0) + shift + slack)
    mark = fingerprint_of(model)
    if step.equation == "rates":
        network = RateNetwork.of(step, seen)
        return _of_rates(
            network, cell.solver, cell.ode_unfolds, given, lengths, fraction, mark, advice=advice
        )
    kind = DenseNetwork if step.equation == "dense_closed_form" else WiredNetwork
    closed: ClosedNetwork = kind.of(step, seen)
    return _of_map(closed, step.equation, given, lengths, fraction, mark, advice=advice)


def _of_rates(
    network: RateNetwork,
    solver: Solver,
    unfolds: int,
    given: Box,
    elapsed: Lengths,
    fraction: float,
    mark: str,
    *,
    advice: bool,
) -> ContractionBound | NotCertified:
    def flow(candidate: RateNetwork) -> tuple[RowBound, Box, Array, float]:
        states = state_box(candidate, None)
        assert states is not None  # the flow never leaves it
        bound = FlowBound(candidate, states.reached)
        return bound, states.box, *best_weights(bound, 0.0, fraction)

    bound, box, eta, worst = flow(network)
    if not worst < 0:

        def passes(factor: float) -> bool:
            return flow(network.scaled(factor))[-1] < 0

        what = f"the worst rate in the box is {-worst:.4g}, expected above 0"
        return refused(bound, eta, what, -worst, passes if advice else None)
    lengths = elapsed[0] / unfolds, elapsed[1] / unfolds
    steps, step, longest, reason = leaky_steps(solver), None, None, ""
    if steps is None:
        reason = f"nothing is known of the step of the solver {solver.name!r}"
    else:
        proved = prove_step(network, steps, lengths, fraction, start=(eta,))
        wider = (eta, worst)
        if proved is not None and not box.contains(proved.states.box):  # one box for both
            wider = best_weights(FlowBound(network, proved.states.box), 0.0, fraction)
        if proved is None or not wider[1] < 0:
            reason = _too_long(network, solver, lengths, fraction, eta, advice=advice)
        else:
            box, (eta, worst) = proved.states.box, wider
            step = StepFigures(
                solver.name, unfolds, lengths[0], lengths[1], proved.eta, proved.kappa
            )
            if advice:
                longest = longest_step(network, steps, lengths[0], proved, lengths[1])
    return ContractionBound("rates", -worst, eta, box, given, step, longest, reason, mark)


def _too_long(
    network: RateNetwork,
    solver: Solver,
    lengths: Lengths,
    fraction: float,
    eta: Array,
    *,
    advice: bool,
) -> str:
    """Return why nothing is proved of steps, and of what lengths it would be."""
    steps = leaky_steps(solver)
    if steps is None or not advice:
        return too_long(solver.name, lengths, None, "take more unfolds")

    def prove(between: Lengths) -> ProvedStep | None:
        return prove_step(network, steps, between, fraction, start=(eta,))

    shorter = shorter_steps(prove, lengths)
    if shorter is None:
        remedy = "take the solver 'semi_implicit' or 'exponential'"
        return too_long(solver.name, lengths, None, remedy)
    (low, length), proved = shorter
    most = longest_step(network, steps, low, proved, length)
    return too_long(solver.name, lengths, most, "")


def _of_map(
    network: ClosedNetwork,
    equation: str,
    given: Box,
    lengths: Lengths,
    fraction: float,
    mark: str,
    *,
    advice: bool,
) -> ContractionBound | NotCertified:
    times = times_of(lengths)

    def bounded(candidate: ClosedNetwork) -> tuple[RowBound, Box, Array, float]:
        box = candidate.box(times)
        bound = candidate.bound(box, times)
        return bound, box, *best_weights(bound, 1.0, fraction)

    bound, box, eta, kappa = bounded(network)
    if not kappa < 1:

        def passes(factor: float) -> bool:
            return bounded(network.scaled(factor))[-1] < 1

        what = f"a step brings states nearer by the factor {kappa:.4g} at worst, expected below 1"
        return refused(bound, eta, what, -math.log(kappa), passes if advice else None)
    step = StepFigures(MAP, 1, lengths[0], lengths[1], eta, max(kappa, SLACK))
    return ContractionBound(equation, None, eta, box, given, step, None, "", mark)


def refused(
    bound: RowBound, eta: Array, what: str, rate: float, passes: Callable[[float], bool] | None
) -> NotCertified:
    """Return a refusal with its worst row, and with the scale at which the circuit would pass."""
    neuron = int(np.argmax(bound.factors(eta)))
    remedy = "take smaller weights between neurons, or a smaller range of inputs"
    if passes is not None:
        scale = _largest(passes)
        if scale > 0:
            remedy = (
                f"with the weights that read its states scaled by {scale:.3g} the circuit is "
                "certified"
            )
    return NotCertified(
        f"{what}, in the row of neuron {neuron}; {remedy}",
        "float",
        rate,
        neuron,
        bound.heaviest(neuron, eta),
    )


def _largest(passes: Callable[[float], bool]) -> float:
    """Return the largest factor below 1 found to pass, rounded down, 0 where none does."""
    low, high = 0.0, 1.0
    for _ in range(_SCALES):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if passes(middle) else (low, middle)
    rounded = math.floor(low * 1e3) / 1e3
    return rounded if rounded > 0 and passes(rounded) else 0.0


def _has_values(cell: nn.Module) -> bool:
    return not any(parameter.is_meta for parameter in cell.parameters())


def _require_finite(step: PlainStep) -> None:
    """Raise `InputError` unless every parameter is finite."""
    named: dict[str, Any] = dict(step.neurons)
    for name, synapses in step.synapses.items():
        named |= {f"{name} {column}": values for column, values in synapses.values.items()}
    for number, (weight, bias) in enumerate(step.layers):
        named |= {f"weight of map {number}": weight, f"bias of map {number}": bias}
    for name, values in named.items():
        broken = ~np.isfinite(values)
        if broken.any():
            where = tuple(int(i) for i in np.argwhere(broken)[0])
            raise InputError(
                f"got {values[where]} as {name} at position {where}, expected finite parameters; "
                "nothing can be proven of this network: load an earlier checkpoint"
            )
