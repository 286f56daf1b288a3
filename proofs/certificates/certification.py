r"""Certification of liquid circuits: a proof of contraction, or the reason why there is none.

A circuit contracts in a box if two trajectories under the same input approach each other there,
exponentially: it forgets its initial state, follows a constant input to one equilibrium and a
periodic one to one orbit, and cannot be chaotic. Three theorems are put together: the boxes that
every trajectory enters (`boxes`), the worst logarithmic norm over such a box (`contraction`), and
its best weights (`perron`). What they find in double precision is then checked by
`elegans.proofs.verify`, which rounds every operation away from the claim.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.layers.capabilities import cell_of
from elegans.proofs import verify
from elegans.proofs.certificates.advice import (
    binding_row,
    largest_scale,
    local_certificate,
    prune_first,
)
from elegans.proofs.certificates.bound import ContractionBound
from elegans.proofs.certificates.bounding import bound_of, is_bounded
from elegans.proofs.certificates.certificate import (
    Certificate,
    NotCertified,
    network_document,
)
from elegans.proofs.certificates.contraction import Rows
from elegans.proofs.certificates.network import (
    SLACK,
    Array,
    Box,
    Network,
    Range,
    given_range,
    liquid_cell,
    require_between,
)
from elegans.proofs.certificates.perron import (
    Components,
    best_rates,
    weights_for,
)
from elegans.proofs.certificates.region import Region, pieces_of, region_of, require_level, rows_of
from elegans.proofs.certificates.stepping import (
    SOLVERS,
    Lengths,
    StepRows,
    best_step,
    input_gains,
    longest_step,
)
from elegans.solvers import get_solver

RATE_FRACTION = 0.9
"""Share of the best rate that a certificate claims: at the best rate itself the weights can differ
by eight orders of magnitude, and so could the overshoot."""

_SHARPEST = 0.999
_LOWER = (0.5, 0.1, 0.01)
_LARGEST = verify.LARGEST_NUMBER


@checked(InputError)
def certify(
    model: nn.Module | Network,
    inputs: Range | None = None,
    level: str | None = None,
    *,
    elapsed: float | tuple[float, float] = 1.0,
    rate_fraction: float = RATE_FRACTION,
    advice: bool = True,
    check: bool = True,
) -> Certificate | ContractionBound | NotCertified:
    r"""Prove that two trajectories of a circuit under the same input approach each other.

    Of liquid circuits with a certificate that can be saved and checked, of `elegans.CTRNN` and
    `elegans.CfC` with a `ContractionBound` in double precision; a CfC has steps and no flow.

    .. math::
        \max_i \frac{|x_i(t) - y_i(t)|}{\eta_i}
        \le e^{-\lambda t} \max_i \frac{|x_i(0) - y_i(0)|}{\eta_i}

    for all states in a box that no trajectory leaves and every trajectory tends to, and for all
    inputs in a range, however they vary.

    Parameters
    ----------
    model
        A layer without mixed memory, its cell, or a `Network`. The memory cell changes the state
        between the steps, and nothing is proved of it.
    inputs
        Lowest and highest input as the layer is given them: two numbers or two arrays (input,).
        Level ``"exact"`` holds for any input; there the range serves the advice of a refusal.
    level
        ``"exact"``: over the hull of all potentials, with gates anywhere from 0 to 1; holds for any
        input.
        ``"interval"``: over the smallest box that the circuit enters, with the gates that occur
        there, enclosed from outside; holds after the entry time for every state of the
        outermost box, and every other state tends to that.
        ``"float"``: the same with an allowance for rounding in place of the check; the one of a
        CT-RNN or CfC. None, the default: the strongest of the last two that there is.
    elapsed
        Time that a step of the layer lasts, or the shortest and the longest one, for the statement
        on the step: of the solvers ``semi_implicit``, ``exponential`` and ``euler``; of a CT-RNN
        of ``exponential_midpoint`` and explicit Runge-Kutta methods as well.
    rate_fraction
        At least this fraction of the best rate is proved, above 0 and below 1; smaller shares give
        weights of smaller spread, and so a smaller overshoot.
    advice
        Whether a refusal looks for the largest certified scale and box, and for the synapses to
        prune first; takes several times as long as the certificate. Of a CT-RNN whether the
        longest step is looked for, too.
    check
        Whether levels other than ``"float"`` are checked before they are returned. The check takes
        about as long as finding the certificate, and can be left to `Certificate.verify` or to
        whoever is given the file.

    Returns
    -------
    Certificate, ContractionBound or NotCertified
        True, true and false in a condition.

    Raises
    ------
    InputError
        The range is missing, inverted or not finite, the model is of another kind, a parameter is
        not finite, or an argument is not valid.

    Notes
    -----
    The statement is about the differential equation and, for the solvers named above, about their
    steps, with the layer's parameters as real numbers; where nothing is proved of the step it is
    about the differential equation only, and every text of the certificate says so. Rounding in the
    forward pass is not part of it: see `rounding_bound`. Not certified does not mean unstable.

    Examples
    --------
    >>> from elegans import LTC
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(4, AutoNCP(units=12, output_size=2, sparsity_level=0.8, seed=1))
    >>> certificate = certify(model, inputs=(-1, 1))
    >>> len(certificate.verify())
    5
    """
    if level is not None:
        require_level(level)
    if inputs is None:
        raise InputError(
            "got no range of inputs, expected inputs=(lowest, highest): two numbers or two arrays "
            "with one number an input"
        )
    between = elapsed_lengths(elapsed)
    require_between("rate_fraction", rate_fraction, 0.0, 1.0)
    if not isinstance(model, Network) and is_bounded(model):
        if level not in (None, "float"):
            raise InputError(
                f"got level={level!r} for {type(cell_of(model)).__name__}, expected 'float' or "
                "None: the verifier has no equation of it; leave the level out"
            )
        return bound_of(model, inputs, between, rate_fraction, advice=advice)
    level = "interval" if level is None else level
    network = model if isinstance(model, Network) else Network.of(model)
    network.check_finite()
    given = given_range(inputs, len(network.scale))
    refused = precondition(network, given)
    if refused is not None:
        return NotCertified(refused, level)
    region = region_of(network, network.range_of(inputs), level)
    rows = rows_of(network, region, level)
    components = best_rates(rows)
    norms = norms_of(rows, components, rate_fraction)
    if not norms:
        return _refusal(network, given, level, rows, components, advice)
    step = _step(model, network, region, norms[0], between, rate_fraction, pieces_of(level))
    gain = input_gains(network, region.box, region.gates, rows)
    document = {
        "format": verify.FORMAT,
        "version": verify.version_of(network.electrical is not None),
        "level": level,
        "network": network_document(network),
        "inputs": {"lo": given.lo.tolist(), "hi": given.hi.tolist()},
        "attracts": True,
        "boxes": [{"lo": box.lo.tolist(), "hi": box.hi.tolist()} for box in region.boxes],
        "shares": list(region.shares),
        "pieces": pieces_of(level),
        "norms": [{"eta": weights.tolist(), "rate": proved} for weights, proved in norms],
        "step": step,
        "gain": None if gain is None else gain.tolist(),
        "notes": {},
    }
    document["digest"] = verify.digest(document)
    if check and level != "float":
        try:
            verify.verify(document, math.inf)
        except (verify.MalformedError, verify.NotProvedError) as error:
            return NotCertified(
                f"what double precision found does not pass the check at level {level!r} ({error})",
                level,
                components.best_rate,
            )
    return Certificate(document, components)


def precondition(network: Network, given: Box) -> str | None:
    """Return why nothing can be said about a network of such numbers."""
    for kind, synapses in (("recurrent", network.recurrent), ("sensory", network.sensory)):
        negative = np.flatnonzero(synapses.weight < 0)
        if len(negative):
            return (
                f"{kind} synapse {negative[0]} has the negative conductance "
                f"{synapses.weight[negative[0]]:.6g}; a gate that opens would then push the "
                "potential away from its target"
            )
    junctions = np.zeros(0) if network.electrical is None else network.electrical.weight
    if (junctions < 0).any():
        return (
            f"gap junction {np.argmax(junctions < 0)} has the negative conductance "
            f"{junctions.min():.6g}; it would drive the potentials of its ends apart"
        )
    if (network.capacitance <= 0).any():
        return "a capacitance is not positive"
    if (network.leak < 0).any() or network.epsilon < 0:
        return "a leak conductance is negative"
    still = np.flatnonzero(network.leak + network.epsilon <= 0)
    if len(still):
        return f"neuron {still[0]} has no leak, so nothing holds it when its gates are closed"
    numbers = [network.capacitance, network.leak, network.leak_potential, network.scale]
    numbers += [network.shift, given.lo, given.hi, np.array([network.epsilon]), junctions]
    for synapses in (network.recurrent, network.sensory):
        numbers += [synapses.weight, synapses.gain, synapses.centre, synapses.potential]
    if any((np.abs(values) > _LARGEST).any() for values in numbers):
        return f"a number is larger than {_LARGEST:g}"
    return None


def elapsed_lengths(elapsed: float | tuple[float, float]) -> Lengths:
    """Return the shortest and the longest elapsed time."""
    ends = elapsed if isinstance(elapsed, tuple) else (elapsed, elapsed)
    for end in ends:
        require_between("elapsed", end, 0.0, _LARGEST)
    if len(ends) != 2 or ends[0] > ends[1]:
        raise InputError(
            f"got elapsed={elapsed!r}, expected a time, or the shortest and the longest one"
        )
    return float(ends[0]), float(ends[1])


def _step(
    model: nn.Module | Network,
    network: Network,
    region: Region,
    norm: tuple[Array, float],
    between: Lengths,
    fraction: float,
    pieces: int,
) -> dict[str, Any] | None:
    """Return what is proved of the step that runs; None if it cannot be shown to contract."""
    solver, unfolds = solver_of(model), unfolds_of(model)
    lengths = between[0] / unfolds, between[1] / unfolds
    if solver not in SOLVERS or lengths[0] < 1 / _LARGEST:
        return None
    if lengths[1] > longest_step(network, region.box, region.gates, solver):
        return None
    (eta, rate), proved = norm, None
    if solver == "euler":
        kappa = 1 - lengths[0] * rate + SLACK
        proved = (eta, kappa) if kappa < 1 else None
    else:
        rows = StepRows.of(
            network, region.box, region.gates, longest=lengths[1], pieces=pieces, solver=solver
        )
        proved = best_step(rows, lengths, fraction, eta)
    return proved and {
        "solver": solver,
        "unfolds": unfolds,
        "shortest": lengths[0],
        "longest": lengths[1],
        "eta": proved[0].tolist(),
        "kappa": proved[1],
    }


def norms_of(rows: Rows, components: Components, rate_fraction: float) -> list[tuple[Array, float]]:
    """Return weights of moderate spread and the sharpest ones, with the rates that they prove.

    Where neither is found, weights of a lower rate; where the best rate is not known to be
    positive, of a part of its ceiling.
    """
    best, ceiling = components.best_rate, float(components.ceiling.min())
    found = [_weights(rows, part * best) for part in (rate_fraction, _SHARPEST) if best > 0]
    norms = [norm for norm in found if norm is not None]
    for part in _LOWER:
        if norms or ceiling <= 0:
            break
        norm = _weights(rows, part * ceiling)
        norms = [] if norm is None else [norm]
    return norms


def _weights(rows: Rows, rate: float) -> tuple[Array, float] | None:
    """Return weights for a rate, the largest 1, and the rate that they prove."""
    eta = weights_for(rows, rate)
    if eta is None or not (eta / eta.max() > 0).all():
        return None
    eta = eta / eta.max()
    proved = rows.rate(eta)
    return (eta, proved) if proved > 0 else None


def _refusal(
    network: Network, given: Box, level: str, rows: Rows, components: Components, advice: bool
) -> NotCertified:
    row, synapses = binding_row(rows, components)
    best = components.best_rate
    if best > 0:
        return NotCertified(
            f"weights that prove the rate of {best:.4g} were not found in double precision, "
            "expected numbers of fewer orders of magnitude; look for conductances or gains that "
            "are too large",
            level,
            best,
            row,
            synapses,
        )
    reason = (
        f"the worst rate in the box is {best:.4g}, expected above 0; the component of "
        f"{components.sizes[components.slowest]} neurons with neuron {row} binds"
    )
    if not advice:
        return NotCertified(reason, level, best, row, synapses)

    def rate_of(candidate: Network) -> float:
        region = region_of(candidate, candidate.range_of((given.lo, given.hi)), level)
        return best_rates(rows_of(candidate, region, level), tolerance=1e-3).best_rate

    local = local_certificate(network, given)
    return NotCertified(
        reason,
        level,
        best,
        row,
        synapses,
        largest_scale(network, rate_of),
        None if local is None else local.equilibrium.tolist(),
        None if local is None else local.radius.tolist(),
        None if local is None else local.rate,
        prune_first(rows, components),
    )


def solver_of(model: nn.Module | Network) -> str | None:
    """Return the name of the solver if its step is certified, the default one for a network."""
    if isinstance(model, Network):
        return SOLVERS[0]
    solver = liquid_cell(model).solver
    for name in SOLVERS:
        named = get_solver(name)
        if type(named) is type(solver) and vars(named) == vars(solver):
            return name
    return None


def unfolds_of(model: nn.Module | Network) -> int:
    """Return the solver's steps in a step of the layer; 1 for a network without a layer."""
    if isinstance(model, Network):
        return 1
    return liquid_cell(model).ode_unfolds
