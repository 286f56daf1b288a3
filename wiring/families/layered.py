"""A general layered wiring: any layers, any densities between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from elegans.wiring.names import check_layers
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import MOTOR, SENSORY, Wiring


@checked(WiringError)
@dataclass(frozen=True)
class Layered(Recipe):
    """Layers of any number and size, each pair of them connected at its own density.

    For a block of N_j sources and N_i targets at density d, round(d N_j N_i) synapses are drawn
    uniformly without replacement. Then every neuron that got no synapse at all from the blocks
    that lead to its layer gets one, from a random source of a random such block. Only a layer of
    one neuron whose sole block comes from itself can stay without, if `self_synapses` is off.

    Parameters
    ----------
    layers
        Name and size of each layer from the input to the output; the last is ``"motor"``.
    density
        Share of possible synapses for each pair ``(source layer, target layer)``, in [0, 1];
        ``"sensory"`` is the input. Pairs that are left out are not connected, but some pair must
        lead to each layer.
    excitatory
        Probability that a synapse is excitatory.
    self_synapses
        Whether a block from a layer to itself may connect a neuron to itself.
    seed
        Seed of the drawing.

    Raises
    ------
    WiringError
        The last layer is not ``motor``, a pair names an unknown layer or leads to the input, a
        density is outside [0, 1], or no pair leads to some layer.
    InputError
        On building: there is not enough memory.

    Examples
    --------
    >>> recipe = Layered(
    ...     layers={"first": 10, "second": 6, "motor": 2},
    ...     density={
    ...         ("sensory", "first"): 0.5,
    ...         ("first", "second"): 0.25,
    ...         ("second", "second"): 0.5,
    ...         ("second", "motor"): 1.0,
    ...     },
    ... )
    >>> recipe.build(input_size=4)
    Wiring(4 sensory, 10 first, 6 second, 2 motor; 42 synapses, 20 sensory synapses)
    """

    layers: Mapping[str, int]
    density: Mapping[tuple[str, str], float]
    excitatory: float = 0.5
    self_synapses: bool = False
    seed: int = 22222

    def __post_init__(self) -> None:
        if not isinstance(self.density, Mapping):
            raise WiringError(
                "density must be a dictionary such as {('sensory', 'motor'): 0.5}, got "
                f"{type(self.density).__name__}"
            )
        # Copies: the caller may go on changing its own.
        object.__setattr__(self, "layers", check_layers(self.layers))
        object.__setattr__(self, "density", dict(self.density))
        names = list(self.layers)
        if not names or names[-1] != MOTOR or SENSORY in names:
            raise WiringError(
                f"layers must end with {MOTOR!r} and leave out {SENSORY!r}, got {names}"
            )
        check_share("excitatory", self.excitatory)
        check_seed("seed", self.seed)
        for pair, density in self.density.items():
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise WiringError(
                    f"density is given for {pair!r}, expected a pair (source layer, target layer), "
                    f"such as ({SENSORY!r}, {names[0]!r})"
                )
            source, target = pair
            check_share(f"density from {source!r} to {target!r}", density)
            if source not in (SENSORY, *names) or target not in names:
                raise WiringError(
                    f"density is given from {source!r} to {target!r}; sources are "
                    f"{[SENSORY, *names]} and targets are {names}"
                )
        fed = {target for _, target in self.density}
        for previous, layer in zip([SENSORY, *names], names, strict=False):
            if layer not in fed:
                raise WiringError(
                    f"layer {layer!r} gets no input, as no pair of density leads to it; add one, "
                    f"such as ({previous!r}, {layer!r}): 0.5, or leave the layer out"
                )

    def _identity(self) -> tuple[object, ...]:
        settings = (self.excitatory, self.self_synapses, self.seed)
        # The order of the layers matters, that of the densities does not.
        return tuple(self.layers.items()), frozenset(self.density.items()), settings

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layered):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    @property
    def units(self) -> int:
        """Number of neurons."""
        return sum(self.layers.values())

    @property
    def output_size(self) -> int:
        """Number of motor neurons."""
        return self.layers[MOTOR]

    def build(self, input_size: int) -> Wiring:
        """Draw the wiring for `input_size` sensory neurons."""
        rng = np.random.default_rng(self.seed)
        blank = Wiring(
            input_size,
            dict(reversed(list(self.layers.items()))),
            Synapses.empty(),
            Synapses.empty(),
        )
        check_room(self, self._expected(blank))
        # In a fixed order, so that the wiring does not depend on how the densities were listed.
        blocks = sorted((pair, density) for pair, density in self.density.items() if density)
        pairs = {pair: self._draw_block(rng, blank, *pair, density) for pair, density in blocks}
        for layer in self.layers:
            self._reach_all(rng, blank, layer, pairs)
        sensory = [block for (source, _), block in pairs.items() if source == SENSORY]
        recurrent = [block for (source, _), block in pairs.items() if source != SENSORY]
        return blank.with_synapses(self._signed(rng, recurrent), self._signed(rng, sensory))

    def _expected(self, blank: Wiring) -> float:
        """Return the number of synapses of all blocks."""
        size = {layer: len(blank.layer_range(layer)) for layer in (SENSORY, *self.layers)}
        return sum(d * size[j] * size[i] for (j, i), d in self.density.items())

    def _draw_block(
        self, rng: np.random.Generator, blank: Wiring, source: str, target: str, density: float
    ) -> NDArray[np.int64]:
        """Draw one block as rows (source, target)."""
        sources, targets = blank.layer_range(source), blank.layer_range(target)
        without_self = source == target and not self.self_synapses
        width = len(targets) - without_self
        code = draw_distinct(rng, len(sources) * width, round(density * len(sources) * width))
        j, i = code // max(width, 1), code % max(width, 1)
        if without_self:
            i += i >= j  # skip the diagonal
        return np.stack([j + sources.start, i + targets.start], axis=1)

    def _reach_all(
        self,
        rng: np.random.Generator,
        blank: Wiring,
        layer: str,
        pairs: dict[tuple[str, str], NDArray[np.int64]],
    ) -> None:
        """Give one synapse to each neuron of `layer` that has none."""
        incoming = [pair for pair in pairs if pair[1] == layer]
        neurons = blank.layer_range(layer)
        missed = np.ones(len(neurons), dtype=bool)
        for pair in incoming:
            missed[pairs[pair][:, 1] - neurons.start] = False
        forgotten = np.flatnonzero(missed) + neurons.start
        grown: dict[tuple[str, str], list[tuple[int, int]]] = {pair: [] for pair in incoming}
        for i in forgotten.tolist() if incoming else ():
            possible = []
            for pair in incoming:
                sources = blank.layer_range(pair[0])
                without_self = pair[0] == layer and not self.self_synapses
                if len(sources) > without_self:
                    j = sources.start + int(rng.integers(len(sources) - without_self))
                    possible.append((pair, j + (without_self and j >= i)))
            if possible:
                pair, j = possible[rng.integers(len(possible))]
                grown[pair].append((j, i))
        for pair, rows in grown.items():
            if rows:
                pairs[pair] = np.concatenate([pairs[pair], rows])

    def _signed(self, rng: np.random.Generator, blocks: Iterable[NDArray[np.int64]]) -> Synapses:
        rows = np.concatenate([np.empty((0, 2), dtype=np.int64), *blocks])
        rows = rows[np.lexsort((rows[:, 0], rows[:, 1]))]
        polarity = np.where(rng.random(len(rows)) < self.excitatory, 1, -1)
        return Synapses(rows[:, 0], rows[:, 1], polarity)


def draw_distinct(rng: np.random.Generator, population: int, count: int) -> Numbers:
    """Draw `count` of `population` numbers without replacement, in memory of order `count`."""
    if 2 * count > population:
        chosen_ones = np.ones(population, dtype=bool)
        chosen_ones[draw_distinct(rng, population, population - count)] = False
        return np.flatnonzero(chosen_ones)
    chosen = np.empty(0, dtype=np.int64)
    while len(chosen) < count:
        more = rng.integers(population, size=2 * (count - len(chosen)))
        fresh = without(distinct(more), np.sort(chosen))
        room = count - len(chosen)
        chosen = np.concatenate([chosen, rng.permutation(fresh)[:room]])
    return chosen
