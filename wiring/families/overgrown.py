"""A wiring with more synapses than are to stay: for circuits that are thinned while they learn."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.families.layered import draw_distinct
from elegans.wiring.families.recipe import Numbers, Recipe, check_room, check_seed, check_share
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import SENSORY, Wiring


@checked(WiringError)
@dataclass(frozen=True)
class Overgrown(Recipe):
    """The wiring of another recipe with synapses added at random, inside the blocks that it has.

    A block of n synapses, from one layer to another, becomes one of `factor` n, or full; it never
    connects a neuron to itself that was not. `elegans.PruneRewire` brings the circuit back to the
    budget while it learns: a nervous system makes more synapses than it keeps, too.

    Parameters
    ----------
    recipe
        The wiring whose number of synapses is the budget.
    factor
        Multiple of the budget, at least 1; infinite for all synapses that its blocks allow.
    excitatory
        Probability that an added synapse is excitatory.
    seed
        Seed of what is added.

    Raises
    ------
    WiringError
        `recipe` is no recipe, the factor is below 1, or the probability or the seed is not valid.
    InputError
        On building: there is not enough memory.

    References
    ----------
    Huttenlocher, "Synaptic density in human frontal cortex: developmental changes and effects of
    aging", Brain Research 163:195 (1979), for overproduction and elimination.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> budget = AutoNCP(units=19, output_size=4)
    >>> budget.build(input_size=8)
    Wiring(8 sensory, 9 inter, 6 command, 4 motor; 45 synapses, 35 sensory synapses)
    >>> Overgrown(budget, 2.0).build(input_size=8)
    Wiring(8 sensory, 9 inter, 6 command, 4 motor; 90 synapses, 70 sensory synapses)
    """

    recipe: Recipe
    factor: float = 2.0
    excitatory: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.recipe, Recipe):
            raise WiringError(
                f"recipe must be one such as AutoNCP, got {type(self.recipe).__name__}"
            )
        number = isinstance(self.factor, int | float) and not isinstance(self.factor, bool)
        if not number or not self.factor >= 1:
            raise WiringError(
                f"factor must be a number of at least 1, got {self.factor!r}; the recipe alone "
                "draws the budget"
            )
        check_share("excitatory", self.excitatory)
        check_seed("seed", self.seed)

    @property
    def units(self) -> int:
        """Number of neurons."""
        units: int = self.recipe.units  # type: ignore[attr-defined]
        return units

    @property
    def output_size(self) -> int:
        """Number of motor neurons."""
        size: int = self.recipe.output_size  # type: ignore[attr-defined]
        return size

    def build(self, input_size: int) -> Wiring:
        """Draw the wiring for `input_size` sensory neurons."""
        wiring, rng = self.recipe.build(input_size), np.random.default_rng(self.seed)
        present = wiring.synapse_count + wiring.sensory_synapse_count
        full = wiring.units * (wiring.units + wiring.input_size)
        check_room(self, min(self.factor * present, full))
        return wiring.with_synapses(
            self._grown(rng, wiring, wiring.recurrent, wiring.layers),
            self._grown(rng, wiring, wiring.sensory, (SENSORY,)),
        )

    def _grown(
        self, rng: np.random.Generator, wiring: Wiring, synapses: Synapses, sources: Iterable[str]
    ) -> Synapses:
        """Return the synapses and those that are added to each of their blocks."""
        columns: list[list[NDArray[Any]]]
        columns = [[synapses.source], [synapses.target], [synapses.polarity]]
        for source in sources:
            for target in wiring.layers:
                j, i = self._added(rng, wiring, synapses, source, target)
                polarity = np.where(rng.random(len(j)) < self.excitatory, 1, -1)
                for column, more in zip(columns, (j, i, polarity), strict=True):
                    column.append(more)
        return Synapses(*(np.concatenate(column) for column in columns))

    def _added(
        self, rng: np.random.Generator, wiring: Wiring, synapses: Synapses, source: str, target: str
    ) -> tuple[Numbers, Numbers]:
        """Return the ends of what is added to a block."""
        sources, targets = wiring.layer_range(source), wiring.layer_range(target)
        j, i = synapses.source.astype(np.int64), synapses.target.astype(np.int64)
        inside = (j >= sources.start) & (j < sources.stop)
        inside &= (i >= targets.start) & (i < targets.stop)
        width = len(targets)
        taken = np.unique((j[inside] - sources.start) * width + i[inside] - targets.start)
        if source == target:
            taken = np.union1d(taken, np.arange(len(sources)) * (width + 1))  # the diagonal
        room = len(sources) * width - len(taken)
        count = int(inside.sum())
        full = math.isinf(self.factor)
        more = room * bool(count) if full else round((self.factor - 1) * count)
        # The k-th free place: as many taken ones lie before it as have k or less free before them.
        place = np.sort(draw_distinct(rng, room, min(room, more)))
        place += np.searchsorted(taken - np.arange(len(taken)), place, side="right")
        return place // width + sources.start, place % width + targets.start
