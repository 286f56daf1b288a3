r"""The largest change of all parameters at once that leaves a part of the certified rate.

A certificate is about one circuit. Its margin is the largest delta for which every circuit with

.. math:: p' \in [p (1 - \delta),\, p (1 + \delta)]

for all parameters p at once, and not the same change for each, still contracts at a stated share of
the rate, in the weights of the certificate, on a box that each of them enters and never leaves. The
box is derived anew for the whole family, so that it grows with delta; everything that is found is
checked over intervals of the parameters, rounded away from the claim (`family`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.proofs.certificates.certificate import Certificate
from elegans.proofs.certificates.network import Array, Box, Index, require_between
from elegans.proofs.margins.family import Family, Flags, box_of, rate_excess, step_excess
from elegans.proofs.verify import at_least

KEEP = 0.5
"""Share of the rate that is left at the margin, by default."""

_LEAST, _CLOSE, _CLOSE_ROW = 2.0**-36, 0.005, 0.05
_LARGEST, _HALVINGS = 0.999, 12


@dataclass(frozen=True, eq=False)
class ParameterMargin:
    """How far all parameters may change at once, and what is left then.

    Parameters
    ----------
    keep
        Share of the certified rate that was asked for.
    rate
        The rate that is left, per unit of the elapsed times.
    delta
        Largest relative change that was proved, 0 where none was.
    rows
        The largest change that was proved to leave each neuron's row its rate, shape (neuron,):
        while all parameters of the circuit change so much.
    weakest
        The neuron whose row gives way first.
    kappa
        Factor of an unfold of all these circuits, in the norm of `Certificate.step`: of the
        semi-implicit step, None where nothing was proved of it.
    box
        The box that every circuit within `delta` enters and never leaves, and where the rate holds.

    Examples
    --------
    >>> from elegans.proofs import certify, parameter_margin
    >>> from elegans.proofs.claims.small_circuits import circuit
    >>> margin = parameter_margin(certify(circuit(1), inputs=(-1, 1)))
    >>> round(margin.delta, 2), margin.weakest
    (0.33, 0)
    """

    keep: float
    rate: float
    delta: float
    rows: Array
    weakest: int
    kappa: float | None
    box: Box

    def __str__(self) -> str:
        percent = at_least(100 * self.delta, 3)
        return (
            f"all parameters may change by up to {percent} % at once, and the rate stays at least "
            f"{at_least(self.rate, 4)}; neuron {self.weakest} gives way first"
        )


@checked(InputError)
def parameter_margin(
    certificate: Certificate, *, keep: float = KEEP, rows: bool = True
) -> ParameterMargin:
    r"""Return how far all parameters may change at once while a share of the rate is left.

    .. math::
        \delta^* = \sup \{\delta : \lambda(p') \ge \text{keep} \cdot \lambda
            \text{ for all } |p'_k - p_k| \le \delta |p_k|\}

    is bounded from below: each change that is returned was checked for all circuits at once by
    interval arithmetic. Parameters are conductances, gains, centres and reversal potentials of both
    kinds of synapses, conductances of gap junctions, capacitances, leak conductances and
    potentials, and the input mapping; a parameter that is 0 stays 0. The norm stays that of the
    certificate, the range of inputs as well.

    Parameters
    ----------
    certificate
        A certificate of contraction.
    keep
        Share of ``certificate.rate`` that must be left, from 0 to below 1; 0 asks for any rate
        above 0. A rate has no slack of its own: it was proved as large as its weights allow.
    rows
        Whether the margin of each row is looked for as well, which takes several times as long; the
        margin of the weakest stands for all otherwise.

    Raises
    ------
    InputError
        `keep` is out of range.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(4, AutoNCP(units=12, output_size=2, sparsity_level=0.8, seed=1))
    >>> certificate = elegans.proofs.certify(model, inputs=(-1, 1))
    >>> margin = elegans.proofs.parameter_margin(certificate)
    >>> margin.rate == 0.5 * certificate.rate, 0 < margin.delta < 1
    (True, True)
    >>> int(margin.rows.argmin()) == margin.weakest
    True
    """
    if keep != 0:
        require_between("keep", keep, 0.0, 1.0)
    search = _Search(certificate, keep)
    every = np.arange(len(certificate.eta), dtype=np.int64)
    low, high = 0.0, _LARGEST
    if search.passes(_LEAST).all():
        low = _LEAST
        if search.passes(_LARGEST).all():
            low = _LARGEST
        while low < _LARGEST and high > low * (1 + _CLOSE):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if search.passes(middle).all() else (low, middle)
    margins = np.full(len(every), low)
    if rows:
        search.refine(margins, every, max(low, _LEAST), _LARGEST)
    weakest = search.weakest(high)
    margins[weakest] = low
    box, kappa = search.left(low)
    return ParameterMargin(keep, search.rate, low, margins, weakest, kappa, box)


def rows_of(certificate: Certificate, family: Family, rate: float) -> Array:
    """Return bounds of the rows of the condition for a rate, in the weights of a certificate.

    Each is <= 0 if the row of every circuit of the family passes, (neuron,); infinite without a
    box.
    """
    found = box_of(family, certificate.inputs, certificate.level)
    if found is None:
        return np.full(len(certificate.eta), np.inf)
    tied = certificate.document["pieces"] > 1
    return rate_excess(family, *found, certificate.eta, rate, tied=tied)


class _Search:
    """The rows of a certificate over families of changed circuits."""

    def __init__(self, certificate: Certificate, keep: float) -> None:
        self.certificate = certificate
        self.network, self.eta = certificate.network, certificate.eta
        self.inputs, self.level = certificate.inputs, certificate.level
        self.tied = certificate.document["pieces"] > 1
        self.rate = keep * certificate.rate
        self._strict = keep == 0

    def excess(self, delta: float) -> Array:
        """Return the rows of the rate's condition over all changes up to `delta`, (neuron,)."""
        return rows_of(self.certificate, Family.changed(self.network, delta), self.rate)

    def passes(self, delta: float) -> Flags:
        """Return which rows keep their rate under all changes up to `delta`, (neuron,)."""
        excess = self.excess(delta)
        return np.asarray(excess < 0 if self._strict else excess <= 0)

    def left(self, delta: float) -> tuple[Box, float | None]:
        """Return the box of all circuits changed up to `delta`, and a factor of their unfold."""
        family, step = Family.changed(self.network, delta), self.certificate.step
        found = box_of(family, self.inputs, self.level)
        if found is None or not delta:
            return self.certificate.box, None if step is None else step.kappa
        if step is None or step.solver != "semi_implicit":
            return found[0], None
        proved, low, high = None, 0.0, 1.0
        for _ in range(_HALVINGS):  # of the share of 1 - kappa that is left
            share = 0.5 * (low + high)
            kappa = 1.0 - share * (1.0 - step.kappa)
            excess = step_excess(family, *found, step.eta, kappa, step, tied=self.tied)
            if kappa < 1 and (excess <= 0).all():
                proved, low = kappa, share
            else:
                high = share
        return found[0], proved

    def weakest(self, delta: float) -> int:
        """Return the row that fails the most, as a rate, at a change that is too large."""
        return int(np.argmax(self.excess(delta) / self.network.capacitance))

    def refine(self, margins: Array, rows: Index, low: float, high: float) -> None:
        """Raise the margins of `rows`, which pass at `low`, by halving the interval of each."""
        if not len(rows) or high <= low * (1 + _CLOSE_ROW):
            return
        middle = math.sqrt(low * high)
        good = self.passes(middle)[rows]
        margins[rows[good]] = middle
        self.refine(margins, rows[good], middle, high)
        self.refine(margins, rows[~good], low, middle)
