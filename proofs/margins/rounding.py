r"""Bounds of the rounding of the steps that run, and how far it carries a circuit for ever.

A certificate is about real numbers; a layer computes with floats. Let eps_i bound what one unfold
in floats differs from the exact one at neuron i, from any state of a box. If weights d > 0 pass the
condition of the step with a factor of its own for each row,

.. math::
    \sum_j |\partial x_i^+ / \partial x_j|\, d_j \le \kappa_i d_i, \qquad
    \kappa_i = 1 - \varepsilon_i / d_i,

then a run in floats that was within d of the exact run under the same inputs stays so:
abs(y+ - x+) <= kappa d + eps = d. It begins there if both begin in the same state. Exact runs
contract by the certified kappa, so that two runs in floats differ after t unfolds by at most

.. math:: \kappa^t \|y_0 - x_0\|_\eta\, \eta_i + 2 d_i.

Floats may leave the certified box by d, so that eps and the condition are those of the box
enlarged by it. Weights are sought in doubles, as those of `Certificate.gain`, from F(d) + eps (C /
h + G) / C = 0, and the condition is then checked with every operation rounded away from the claim
(`family`).

One semi-implicit unfold is x + q, q = h (A - G x) / (C + h G) = rho (r - x), rho = h G / (C + h
G). Operations satisfy fl(a op b) = (a op b) (1 + d), abs(d) <= u; m of them give a factor within
1 -+ gamma_m, gamma_m = m u / (1 - m u). All terms of G are >= 0, and A and G x are at most G times
the largest potential P that pulls and the largest X, so that with n terms in a row

.. math::
    \varepsilon_i = u X_i + \rho_i \big(\gamma_{n + 12} (P_i + X_i) + \gamma_{n + 18} |r_i - x_i|
        \big) + \frac{\sum_k w_k |\Delta \sigma_k| \max |E_k - x_i|}{C_i / h + G_i}.

Of the 12, four are operations of A - G x and eight cover conductances that a pass makes from free
parameters itself; the 18 add those of C + h G, the division, done as a product with a reciprocal
or not, and the length of the step. A gap junction is a term whose potential is that of
the other neuron, or of the larger or smaller of both where it rectifies, without any rounding, and
whose gate is 1. The count holds for all passes, reference, compiled and Triton, with or without
fused multiply-adds, in any order of summation. Where a program divides C / h x + A
by C / h + G instead, the terms in the middle are gamma_{n + 18} (max(P_i, X_i) + X_i). A gate is
off by

.. math::
    |\Delta \sigma| \le |z| \sigma (1 - \sigma)\, 4 u + \sigma (1 - \sigma) |s|\, |\Delta u|
        + \sigma\, ((1 - \sigma)\, e + 4 u),

where e bounds the relative error of the exponential: 2.5e-7 in float32 and 3.5e-15 in float64,
more than that of the compiled pass (2e-7, 3e-15), of PyTorch (an ulp) and of the approximate
instruction of NVIDIA's processors (two). Delta u is what the mapping of the inputs rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.proofs.certificates.boxes import target_range
from elegans.proofs.certificates.certificate import Certificate, StepFigures
from elegans.proofs.certificates.contraction import PIECES, Rows
from elegans.proofs.certificates.gates import GateRanges
from elegans.proofs.certificates.network import SLACK, Array, Box, SynapseNumbers
from elegans.proofs.certificates.perron import weights_for
from elegans.proofs.margins.family import (
    KINDS,
    Family,
    conductance_above,
    step_excess,
)
from elegans.proofs.margins.outward import down, up
from elegans.proofs.verify import at_most

_OF_SLOPE, _OF_STEP = 12, 18
"""Operations of A - G x and of the step, besides sums of synapses; see above."""

_LARGEST_SLOPE = 0.2239
"""Of z sigma(z) (1 - sigma(z)), at most."""

_ROOM = (1.0, 1.02, 1.5, 4.0)
"""Factors of the rounding that weights are sought for, one after the other."""

_ROUNDS, _WIDER = 3, 1.25
_LOOSE = 1.01  # for products of two errors


@dataclass(frozen=True)
class Precision:
    """What is taken for granted of a floating-point format.

    Parameters
    ----------
    unit
        u, half the distance from 1 to the next number.
    exponential
        Largest relative error of the exponential.
    tiny
        Largest absolute error where a gate, or a product with it, underflows.
    """

    unit: float
    exponential: float
    tiny: float


PRECISIONS = {
    "float32": Precision(2.0**-24, 2.5e-7, 2.0**-120),
    "float64": Precision(2.0**-53, 3.5e-15, 2.0**-1000),
}


@dataclass(frozen=True, eq=False)
class RoundingBound:
    """How far rounding carries the steps that run from the exact ones.

    Parameters
    ----------
    precision
        Name of the format.
    unfold
        What rounding adds to each potential in one unfold, shape (neuron,).
    neurons
        From the same state, a run in floats and the exact one never differ by more, (neuron,).
    box
        The box that a run in floats never leaves once its exact one is in the certified box.

    Examples
    --------
    >>> from elegans.proofs import certify, rounding_bound
    >>> from elegans.proofs.claims.small_circuits import circuit
    >>> bound = rounding_bound(certify(circuit(1), inputs=(-1, 1)))
    >>> 0 < bound.potential < 1e-4
    True
    """

    precision: str
    unfold: Array
    neurons: Array
    box: Box

    @property
    def potential(self) -> float:
        """The largest of `neurons`."""
        return float(self.neurons.max())

    def __str__(self) -> str:
        return (
            f"from states in the certified box, {self.precision} never moves a potential by more "
            f"than {at_most(self.potential, 3)}; two runs come within "
            f"{at_most(2 * self.potential, 3)} of each other"
        )


@checked(InputError)
def rounding_bound(
    certificate: Certificate,
    precision: str = "float32",
    *,
    mapping_error: Array | float = 0.0,
    quotient: bool = False,
) -> RoundingBound | None:
    r"""Return a bound of the rounding of the steps that run, for ever.

    With it the statement on the step holds for the pass that runs: two runs under the same inputs,
    from states in the certified box, differ at neuron i after t unfolds by at most

    .. math::
        \kappa^t \|y_0 - x_0\|_\eta\, \eta_i + 2 d_i

    with kappa and eta of `Certificate.step` and d = `RoundingBound.neurons`.

    Parameters
    ----------
    certificate
        A certificate that covers the step of the semi-implicit solver.
    precision
        ``"float32"`` or ``"float64"``: that of the layer, its state and its inputs, which are taken
        as floats of this format.
    mapping_error
        Largest error of the mapped inputs, (input,), besides that of one product and one sum: of
        programs that map inputs in another way.
    quotient
        Whether the unfold is computed as (C / h x + A) / (C / h + G), as the C export does it.

    Returns
    -------
    RoundingBound or None
        None where no semi-implicit step is covered, or where rounding is so large, or the rate so
        small, that nothing was proved of the enlarged box.

    Raises
    ------
    InputError
        There is no such precision.

    Notes
    -----
    The bound is that of the worst case in each operation. It assumes IEEE 754 and the errors of the
    exponential that this module states.

    References
    ----------
    Higham, "Accuracy and stability of numerical algorithms", SIAM 2002, chapter 3.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(4, AutoNCP(units=12, output_size=2, sparsity_level=0.8, seed=1))
    >>> certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    >>> single, double = (rounding_bound(certificate, each) for each in ("float32", "float64"))
    >>> single.potential < 1e-3, double.potential < 1e-11
    (True, True)
    """
    if precision not in PRECISIONS:
        raise InputError(f"got precision={precision!r}, expected one of {tuple(PRECISIONS)}")
    step = certificate.step
    if step is None or step.solver != "semi_implicit":
        return None
    bounding = _Bounding(certificate, step, PRECISIONS[precision], mapping_error, quotient)
    return bounding.bound(precision)


class _Bounding:
    """A certificate with the errors of a format."""

    def __init__(
        self,
        certificate: Certificate,
        step: StepFigures,
        form: Precision,
        mapping_error: Array | float,
        quotient: bool,
    ) -> None:
        self.step, self.form = step, form
        self.mapping_error, self.quotient = np.asarray(mapping_error, np.float64), quotient
        self.network, self.level = certificate.network, certificate.level
        self.family = Family.alone(self.network)
        self.given, self.box = certificate.inputs, certificate.box
        self.tied = certificate.document["pieces"] > 1

    def bound(self, precision: str) -> RoundingBound | None:
        """Return d, checked, or None if none is found."""
        box = self.box
        for room in _ROOM:
            for _ in range(_ROUNDS):
                eps = self.unfold(box)
                far = self.weights(box, room * eps)
                if far is None:
                    return None
                if box is not self.box and self.holds(box, eps, far):
                    return RoundingBound(precision, eps, far, box)
                box = self.enlarged(_WIDER * far)
        return None

    def weights(self, box: Box, eps: Array) -> Array | None:
        """Return d of the equation in double precision, (neuron,), None if it is not found."""
        net, gates = self.network, self.gates(box)
        most = conductance_above(self.family, gates)
        z = self.step.longest * most / net.capacitance
        rows = Rows.of(
            net, box, gates, pieces=PIECES if self.tied else 1, reach=np.minimum(z / (1 + z), 1.0)
        )
        effect = eps * (1 / self.step.shortest + most / net.capacitance)
        if not np.isfinite(effect).all():
            return None
        # Rows of little rounding would be beyond what doubles solve beside the others.
        effect = np.maximum(effect, 1e-6 * effect.max())
        far = weights_for(rows, 0.0, rhs=(1 + 1e-6) * effect, tolerance=5e-7)
        return far if far is not None and (far > 0).all() else None

    def holds(self, box: Box, eps: Array, far: Array) -> bool:
        """Whether all that is within `far` of a state of the certified box stays so."""
        inner = self.enlarged(far)
        if not box.contains(inner):
            return False
        kappa = down(1.0 - up(eps / far))
        excess = step_excess(
            self.family, box, self.gates(box), far, kappa, self.step, tied=self.tied
        )
        return bool((kappa > 0).all() and (excess <= 0).all())

    def enlarged(self, room: Array) -> Box:
        """Return the certified box with everything that is so near to it, (neuron,)."""
        slack = SLACK * np.maximum(np.abs(self.box.lo), np.abs(self.box.hi))
        return Box(self.box.lo - room - slack, self.box.hi + room + slack)

    def gates(self, box: Box) -> GateRanges:
        """Return the ranges of the gates over a box."""
        if self.level == "exact":
            return GateRanges.free(self.network, box)
        return self.family.gates(box, self.family.inputs(self.given))

    def unfold(self, box: Box) -> Array:
        """Return bounds of the rounding of an unfold from any state of a box, (neuron,)."""
        net, u, h = self.network, self.form.unit, self.step.longest
        count, gates = len(net), self.gates(box)
        largest = np.maximum(np.abs(box.lo), np.abs(box.hi))
        terms, pulls = np.full(count, 2), np.where(net.leak > 0, np.abs(net.leak_potential), 0.0)
        open_, off = net.leak + net.epsilon, np.zeros(count)
        seen = self.family.inputs(self.given)
        given = np.maximum(np.abs(self.given.lo), np.abs(self.given.hi))
        shifted = u * (2 * np.abs(net.scale) * given + np.abs(net.shift))
        shifted = _LOOSE * (shifted + self.mapping_error)
        for kind, states, moved in zip(KINDS, (box, seen), (np.zeros(count), shifted), strict=True):
            synapses, range_ = getattr(net, kind), getattr(gates, kind)
            target = synapses.target
            terms = terms + np.bincount(target, minlength=count)
            present = synapses.weight > 0
            np.maximum.at(pulls, target[present], np.abs(synapses.potential[present]))
            open_ = open_ + np.bincount(target, synapses.weight * range_.least, minlength=count)
            reach = np.maximum(
                np.abs(synapses.potential - box.lo[target]),
                np.abs(synapses.potential - box.hi[target]),
            )
            ends = Box(states.lo[synapses.source], states.hi[synapses.source])
            error = self.gate_error(synapses, ends, range_.least, range_.most, moved)
            off = off + np.bincount(target, synapses.weight * error * reach, minlength=count)
        gates = gates.in_steps(net, box)
        if net.electrical is not None and gates.electrical is not None:
            joined, other = net.electrical.ends, gates.electrical
            target, farthest = joined.target, np.maximum(np.abs(other.lo), np.abs(other.hi))
            terms = terms + np.bincount(target, minlength=count)
            np.maximum.at(pulls, target, farthest)
            open_ = open_ + np.bincount(target, joined.weight, minlength=count)
        most = conductance_above(self.family, gates)
        # h G / (C + h G) rises with G, and what gates add falls with it.
        share = h * most / (net.capacitance + h * most)
        operations = terms + _OF_STEP
        if not (operations * u < 0.5).all():
            return np.full(count, np.inf)
        slope, whole = (m * u / (1 - m * u) for m in (terms + _OF_SLOPE, operations))
        swing, targets = pulls + largest, target_range(net, gates)
        moved_by = np.maximum(targets.hi - box.lo, box.hi - targets.lo)
        under = operations * self.form.tiny * (1 + swing) * (1 + h / net.capacitance)
        total = u * largest + share * (slope * swing + whole * moved_by)
        if self.quotient:
            total = u * largest + whole * (np.maximum(pulls, largest) + largest)
        total = total + off / (net.capacitance / h + open_)
        return np.asarray(_LOOSE * (total + under))

    def gate_error(
        self, synapses: SynapseNumbers, ends: Box, least: Array, most: Array, moved: Array
    ) -> Array:
        """Return bounds of the errors of gates, (synapse,)."""
        form, gain = self.form, np.abs(synapses.gain)
        half = np.clip(0.5, least, most)  # where the slope is largest
        slope = half * (1 - half)
        z = gain * np.maximum(np.abs(ends.lo - synapses.centre), np.abs(ends.hi - synapses.centre))
        argument = 4 * form.unit * np.minimum(z * slope, _LARGEST_SLOPE)
        argument = argument + slope * gain * moved[synapses.source]
        value = most * ((1 - least) * form.exponential + 4 * form.unit)
        return np.asarray(_LOOSE * (argument + value) + form.tiny)
