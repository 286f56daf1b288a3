"""A random wiring with the heavy-tailed degrees of a connectome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.families.recipe import (
    Numbers,
    Recipe,
    check_room,
    check_seed,
    check_share,
    distinct,
    without,
)
from elegans.wiring.names import check_size
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import Wiring

_WIDEST = 2.0
_GRID = 2**20  # weights are whole multiples of 1 / _GRID
_DENSE = 8  # one pair in so many is joined, or more: all pairs are looked at
_DENSE_BYTES = 24  # a pair, when all are looked at


@checked(WiringError)
@dataclass(frozen=True)
class HeavyTailed(Recipe):
    r"""A given number of synapses between neurons whose degrees are spread log-normally.

    1. Every neuron gets an outgoing weight a and, independently, an incoming weight b, each
       exp(`degree_spread` z) with z standard normal.
    2. Pairs j -> i are drawn with probability proportional to a_j b_i, one after the other,
       until `synapses` different ones are there. While few pairs of hubs are exhausted,
       out-degrees are proportional to a and in-degrees to b on average, as in the model of Chung
       and Lu, but their total is exact.
    3. A neuron that got none gets one, its source drawn by a. For each of them a synapse of a
       target that keeps another is dropped. With fewer synapses than neurons there is not one
       for everybody; motor neurons come first.
    4. round(`excitatory` `units`) neurons are excitatory with all their synapses, the others
       inhibitory with all theirs (Dale's principle).
    5. round(`receptors` times the number of inter neurons), at least one, are reached by one
       input each (motor neurons are, if there are no others), and every input reaches as many of
       them as any other, up to one. If there are more inputs than these neurons, every input
       reaches one. Synapses from inputs are excitatory.

    The sizes of interest are those of the adult fly's brain: FlyWire holds 139,255 neurons; 15.1
    million pairs of them are connected by 54.5 million synapses. Number of neurons, number of
    connections, the spread of degrees and the sign by neuron are all that this recipe takes from
    a brain. It has no cell types, regions, hemispheres, distances, reciprocal pairs or rich club
    beyond chance, in- and out-degree are not correlated, and it joins a pair by one synapse.

    Parameters
    ----------
    units
        Number of neurons.
    output_size
        Number of motor neurons.
    synapses
        Number of synapses between neurons.
    degree_spread
        Standard deviation of the logarithm of expected degrees, from 0 (all alike) to 2.
    excitatory
        Share of excitatory neurons.
    receptors
        Share of the inter neurons that inputs reach.
    self_synapses
        Whether a neuron may have a synapse onto itself.
    seed
        Seed of the drawing.

    Raises
    ------
    WiringError
        A size is not positive, `output_size` is larger than `units`, there are not so many pairs
        of neurons as `synapses`, or a share or the spread is outside its range.
    InputError
        On building: there is not enough memory.

    References
    ----------
    Chung, Lu, "Connected components in random graphs with given expected degree sequences",
    Annals of Combinatorics 6:125 (2002). Dorkenwald et al., "Neuronal wiring diagram of an adult
    brain", Nature 634:124 (2024), for the numbers of neurons and synapses; Shiu et al., "A
    Drosophila computational brain model reveals sensorimotor processing", Nature 634:210 (2024),
    for that of connected pairs.

    Examples
    --------
    >>> HeavyTailed(units=500, output_size=10, synapses=20_000).build(input_size=8)
    Wiring(8 sensory, 490 inter, 10 motor; 20000 synapses, 49 sensory synapses)
    """

    units: int
    output_size: int
    synapses: int
    degree_spread: float = 1.0
    excitatory: float = 0.7
    receptors: float = 0.1
    self_synapses: bool = False
    seed: int = 22222

    def __post_init__(self) -> None:
        check_size("units", self.units)
        check_size("output_size", self.output_size)
        if self.output_size > self.units:
            raise WiringError(
                f"output_size must be at most units, got {self.output_size} outputs of "
                f"{self.units} units"
            )
        whole = isinstance(self.synapses, int | np.integer) and not isinstance(self.synapses, bool)
        if not whole or not 1 <= self.synapses <= self._pairs:
            raise WiringError(
                f"synapses must be an integer from 1 to {self._pairs}, the number of pairs of "
                f"{self.units} neurons, got {self.synapses!r}; take fewer synapses or more units"
            )
        spread = self.degree_spread
        if not isinstance(spread, int | float | np.integer | np.floating) or not (
            0 <= spread <= _WIDEST
        ):
            raise WiringError(
                f"degree_spread must be a number from 0 to {_WIDEST:g}, got {spread!r}; it is the "
                "standard deviation of the logarithm of degrees, about 1 in a connectome"
            )
        check_share("excitatory", self.excitatory)
        check_share("receptors", self.receptors)
        check_seed("seed", self.seed)

    @property
    def _pairs(self) -> int:
        units = int(self.units)
        return units * units if self.self_synapses else units * (units - 1)

    def build(self, input_size: int) -> Wiring:
        """Draw the wiring for `input_size` sensory neurons."""
        check_size("input_size", input_size)
        pairs = int(self.units) ** 2
        dense = pairs <= _DENSE * self.synapses
        check_room(self, self.synapses + input_size, scratch=_DENSE_BYTES * pairs * dense)
        rng = np.random.Generator(np.random.PCG64(self.seed))
        out, into = self._weights(rng), self._weights(rng)
        code = self._race(rng, out, into) if dense else self._draw(rng, out, into)
        self._reach_all(rng, code, out)
        target, source = np.divmod(code, self.units)
        del code
        recurrent = Synapses(source, target, self._signs(rng)[source])
        del source, target
        layers = {"motor": self.output_size}
        if self.output_size < self.units:
            layers["inter"] = self.units - self.output_size
        return Wiring(input_size, layers, recurrent, self._sensory(rng, input_size))

    def _weights(self, rng: np.random.Generator) -> Numbers:
        """Return sums of weights up to and with each neuron, in units of 1 / _GRID.

        Whole numbers, so that rounding on another platform does not add up to another wiring.
        """
        weight = np.exp(self.degree_spread * rng.standard_normal(self.units))
        sums: Numbers = np.maximum(np.rint(weight * _GRID), 1).astype(np.int64).cumsum()
        return sums

    def _draw(self, rng: np.random.Generator, out: Numbers, into: Numbers) -> Numbers:
        """Draw pairs until there are enough; return target * units + source, ascending."""
        code = np.empty(0, dtype=np.int64)
        draws = self.synapses
        while (missing := self.synapses - len(code)) > 0:
            more = _by_weight(rng, into, draws)
            more *= self.units
            source = _by_weight(rng, out, draws)
            more += source
            if not self.self_synapses:
                more = more[more != source * (self.units + 1)]
            del source
            if draws <= missing:
                fresh = without(distinct(more), code)
            else:  # the first of them that are new and differ
                fresh, first = np.unique(without(more, code), return_index=True)
                fresh = np.sort(fresh[np.argsort(first)[:missing]])
            del more
            code = np.insert(code, np.searchsorted(code, fresh), fresh) if len(code) else fresh
            accepted = max(len(fresh), 1) / draws
            draws = min(self.synapses, int((self.synapses - len(code)) / accepted) + 16)
        return code

    def _race(self, rng: np.random.Generator, out: Numbers, into: Numbers) -> Numbers:
        """Return what `_draw` does, by the same law, when most draws would hit again.

        Of clocks that ring at exponential times with rates a_j b_i the first ones are drawn
        without replacement: Efraimidis and Spirakis, Information Processing Letters 97:181 (2006).
        """
        time = rng.standard_exponential((self.units, self.units))
        time /= np.diff(into, prepend=0)[:, None]
        time /= np.diff(out, prepend=0)
        if not self.self_synapses:
            np.fill_diagonal(time, np.inf)
        first = np.argpartition(time, self.synapses - 1, axis=None)[: self.synapses]
        return np.sort(first)

    def _reach_all(self, rng: np.random.Generator, code: Numbers, out: Numbers) -> None:
        """Replace synapses in `code` by ones onto neurons that have none."""
        target = code // self.units
        forgotten = np.flatnonzero(np.bincount(target, minlength=self.units) == 0)
        spare = np.flatnonzero(target[1:] == target[:-1]) + 1  # all but one of each target
        del target
        forgotten = forgotten[: len(spare)]
        source = _by_weight(rng, out, len(forgotten))
        while not self.self_synapses and (again := source == forgotten).any():
            source[again] = _by_weight(rng, out, int(again.sum()))
        dropped = spare[rng.choice(len(spare), size=len(forgotten), replace=False)]
        code[dropped] = forgotten * self.units + source

    def _signs(self, rng: np.random.Generator) -> NDArray[np.int8]:
        """Draw +1 or -1 for each neuron."""
        sign = np.full(self.units, -1, dtype=np.int8)
        sign[rng.permutation(self.units)[: round(self.excitatory * self.units)]] = 1
        return sign

    def _sensory(self, rng: np.random.Generator, input_size: int) -> Synapses:
        start = self.output_size if self.output_size < self.units else 0
        reached = rng.permutation(np.arange(start, self.units))
        reached = reached[: max(1, round(self.receptors * len(reached)))]
        # Dealt out in turn, which repeats no pair before either side is used up.
        turn = np.arange(max(len(reached), input_size))
        source = rng.permutation(input_size)[turn % input_size]
        return Synapses(source, reached[turn % len(reached)], np.ones(len(turn), dtype=np.int8))


def _by_weight(rng: np.random.Generator, sums: Numbers, count: int) -> Numbers:
    """Draw neurons with probability proportional to their weights, whose sums are given."""
    return np.searchsorted(sums, rng.integers(sums[-1], size=count), side="right")
