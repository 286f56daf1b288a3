r"""What is left of a certified rate when parameters are stored in fewer bits.

A format that rounds to nearest moves a parameter p by at most

.. math:: |p' - p| \le u |p| + a

with u the unit of a floating-point format and a half its least number, or u = 0 and a = 2^-(k+1)
for fixed point with k binary places. All circuits that differ from the certified one by so much, in
each parameter, are examined at once, as for `elegans.proofs.parameter_margin`: so the statement
holds whichever way ties are rounded. Whole numbers have to be large enough for the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elegans.arguments import checked
from elegans.errors import InputError
from elegans.proofs.certificates.certificate import Certificate
from elegans.proofs.certificates.network import Network, require_between
from elegans.proofs.margins.family import Family, with_values
from elegans.proofs.margins.parameters import KEEP, rows_of
from elegans.proofs.verify import at_least

LARGEST_PLACES = 40
"""Binary places up to which fixed point is examined."""

_HALVINGS = 12


class _Rounding(NamedTuple):
    """How a format rounds: shares, absolute errors, and its largest number."""

    unit: float
    absolute: float
    largest: float


_FORMATS = {
    "float16": _Rounding(2.0**-11, 2.0**-25, 65504.0),
    "bfloat16": _Rounding(2.0**-8, 2.0**-134, 3.38e38),
    "float32": _Rounding(2.0**-24, 2.0**-150, 3.40e38),
}


@dataclass(frozen=True, eq=False)
class FormatMargin:
    """What formats leave of a certified rate.

    Parameters
    ----------
    keep
        Share of the certified rate that was asked for.
    rates
        The rate that is proved of every rounding to a format, per unit of the elapsed times; None
        where none is.
    places
        The least number of binary places of fixed point that keeps the share, None where 40 do not.
    whole_bits
        Bits before the point that the parameters need besides, the sign included.

    Examples
    --------
    >>> from elegans.proofs import certify, format_margin
    >>> from elegans.proofs.claims.small_circuits import circuit
    >>> margin = format_margin(certify(circuit(1), inputs=(-1, 1)))
    >>> margin.places, margin.whole_bits
    (1, 2)
    """

    keep: float
    rates: dict[str, float | None]
    places: int | None
    whole_bits: int

    def __str__(self) -> str:
        kept = [
            f"{name} at least {at_least(rate, 4)}" if rate else f"{name} unproved"
            for name, rate in self.rates.items()
        ]
        fixed = f"no fixed point of up to {LARGEST_PLACES} binary places keeps"
        if self.places is not None:
            fixed = f"{self.whole_bits} + {self.places} bits of fixed point keep"
        share = f"{100 * self.keep:g} % of the rate" if self.keep else "a rate above 0"
        return f"rates of parameters in {', in '.join(kept)}; {fixed} {share}"


@checked(InputError)
def format_margin(certificate: Certificate, *, keep: float = KEEP) -> FormatMargin:
    """Return what is left of a certified rate when all parameters are rounded to a format.

    Parameters
    ----------
    certificate
        A certificate of contraction.
    keep
        Share of ``certificate.rate`` that fixed point must leave, from 0 to below 1; 0 asks for any
        rate above 0.

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
    >>> margin = elegans.proofs.format_margin(certificate)
    >>> 0 < margin.rates["bfloat16"] < margin.rates["float16"] < margin.rates["float32"]
    True
    """
    if keep != 0:
        require_between("keep", keep, 0.0, 1.0)
    network = certificate.network
    greatest = _greatest(network)
    rates = {
        name: _rate(certificate, Family.changed(network, form.unit, form.absolute))
        if greatest <= form.largest
        else None
        for name, form in _FORMATS.items()
    }

    def passes(places: int) -> bool:
        family = Family.changed(network, 0.0, 2.0 ** -(places + 1))
        excess = rows_of(certificate, family, keep * certificate.rate)
        return bool((excess <= 0).all() if keep else (excess < 0).all())

    low, high = -1, LARGEST_PLACES  # the places of `low` do not keep the share
    least = high if passes(high) else None
    while least is not None and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
        least = high
    whole, last = 1, 2.0 ** -(LARGEST_PLACES if least is None else least)
    while 2.0 ** (whole - 1) - last < greatest:
        whole += 1
    return FormatMargin(keep, rates, least, whole)


def _rate(certificate: Certificate, family: Family) -> float | None:
    """Return a rate that every circuit of a family keeps, None where none is proved."""
    low, high = 0.0, 1.0
    if (rows_of(certificate, family, certificate.rate) <= 0).all():
        return certificate.rate
    for _ in range(_HALVINGS):
        share = 0.5 * (low + high)
        good = (rows_of(certificate, family, share * certificate.rate) <= 0).all()
        low, high = (share, high) if good else (low, share)
    return low * certificate.rate if low else None


def _greatest(network: Network) -> float:
    """Return the largest absolute value of all parameters."""
    found = [0.0]

    def note(values: np.ndarray) -> np.ndarray:
        found.append(float(np.abs(values).max(initial=0.0)))
        return values

    with_values(network, note)
    return max(found)
