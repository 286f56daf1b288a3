"""Whole numbers that stand for parts of ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from elegans.export.c_tables import Table
from elegans.export.portable import Portable
from elegans.synapses.plain import Array, PlainSynapses

SPAN = 8.0
"""Where no range is certified, inputs reach so many times their usual size."""

MARGIN = 2.0**-8  # of ranges, against sums of rounded numbers


@dataclass(frozen=True)
class Format:
    """Whole numbers of so many bits, and twice as many for products.

    Parameters
    ----------
    bits
        16 or 32.
    unit
        Of arguments of a gate, as a part of 1.
    last
        Argument of the last entry of the table of the sigmoid.
    tolerance
        Error of outputs, as a share of their unit, that the test in the file allows.
    """

    bits: int
    unit: int
    last: int
    tolerance: float

    @property
    def most(self) -> int:
        """The largest number."""
        return (1 << (self.bits - 1)) - 1

    def words(self) -> dict[str, Any]:
        """Return what stands for the types in C."""
        return {
            "SMALL": f"int{self.bits}_t",
            "USMALL": f"uint{self.bits}_t",
            "WIDE": f"int{2 * self.bits}_t",
            "UWIDE": f"uint{2 * self.bits}_t",
            "BITS": self.bits,
            "TOP": 2 * self.bits - 1,
            "TWICE": 2 * self.bits,
            "TWICE_LESS": 2 * self.bits - 1,
            "LESS": self.bits - 1,
            "MOST": self.most,
        }

    def small(self, values: Array) -> Any:
        """Return numbers of which 1 is 2**(bits - 1)."""
        scaled = np.round(values * 2.0 ** (self.bits - 1)).clip(-self.most, self.most)
        return scaled.astype(f"int{self.bits}")

    def unsigned(self, values: Array) -> Any:
        """Return numbers of which 1 is 2**bits."""
        return (
            np.round(values * 2.0**self.bits).clip(0, 2**self.bits - 1).astype(f"uint{self.bits}")
        )

    def sigmoid(self) -> Table:
        """Return the table of the sigmoid, 32 entries for each 1."""
        values = 1 / (1 + np.exp(-np.arange(self.last * 32 + 1) / 32))
        return Table("sigmoid_of", self.unsigned(values), "sigmoid(z), z from 0")


FORMATS = {"q15": Format(16, 8192, 12, 2e-2), "q31": Format(32, 2**23, 16, 1e-5)}


@dataclass(frozen=True)
class NumberRanges:
    """What whole numbers stand for: the middle of a range, and its half, which is the largest."""

    middle: Array
    half: Array

    def unit(self, form: Format) -> Array:
        """Return what 1 stands for."""
        return self.half / 2.0 ** (form.bits - 1)

    def lines(self, names: tuple[str, ...], form: Format) -> list[str]:
        """Return a line for each column."""
        return [
            f"  {name} = {middle:.9g} {'-' if unit < 0 else '+'} {abs(unit):.9g} n"
            for name, middle, unit in zip(names, self.middle, self.unit(form), strict=True)
        ]


def input_ranges(circuit: Portable) -> NumberRanges:
    """Return what the whole numbers of the inputs stand for."""
    low, high = circuit.origin - SPAN * circuit.spread, circuit.origin + SPAN * circuit.spread
    if circuit.clamp is not None:
        low, high = circuit.clamp
    half = np.where(high > low, (high - low) / 2, 1.0)
    return NumberRanges((low + high) / 2, half)


def mapped(circuit: Portable, inputs: NumberRanges, synapses: PlainSynapses) -> tuple[Array, Array]:
    """Return what sensory synapses read in the middle of the inputs, and by how much it varies.

    Both are (synapse,), behind the map of the inputs.
    """
    j = synapses.source
    middle = circuit.factor[j] * (inputs.middle[j] - circuit.origin[j]) + circuit.shift[j]
    return middle, circuit.factor[j] * inputs.half[j]
