"""Wirings without layers between input and output: fully connected, and uniformly random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.families.recipe import Recipe, check_room, check_seed, check_share
from elegans.wiring.names import check_size
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import Wiring


class _Uniform(Recipe):
    """Motor neurons first, the others in one layer called inter."""

    units: int
    output_dim: int | None  # type: ignore[assignment]  # None stands for all, until it is made

    def __post_init__(self) -> None:
        check_size("units", self.units)
        if self.output_dim is not None:
            check_size("output_dim", self.output_dim)
            if self.output_dim > self.units:
                raise WiringError(
                    f"output_dim must be at most units, got {self.output_dim} outputs of "
                    f"{self.units} units"
                )
        else:
            object.__setattr__(self, "output_dim", self.units)

    @property
    def output_size(self) -> int:
        """Number of motor neurons; every neuron is one when `output_dim` is not given."""
        return int(self.output_dim or self.units)

    def _drawn_without_inputs(self) -> Synapses:
        return self._neurons_and_layers().recurrent

    def _wiring(self, input_size: int, recurrent: Synapses, sensory: Synapses) -> Wiring:
        layers = {"motor": self.output_size}
        if self.output_size < self.units:
            layers["inter"] = self.units - self.output_size
        return Wiring(input_size, layers, recurrent, sensory)


@checked(WiringError)
@dataclass(frozen=True)
class FullyConnected(_Uniform):
    """Every neuron reaches every neuron, every input reaches every neuron.

    Two of three synapses are excitatory. The wiring equals that of ``ncps`` 1.0.1 for the same
    arguments.

    Parameters
    ----------
    units
        Number of neurons.
    output_dim
        Number of motor neurons; all by default.
    erev_init_seed
        Seed of the polarities.
    self_connections
        Whether a neuron reaches itself.

    Raises
    ------
    WiringError
        `units` is not positive or `output_dim` is larger.
    InputError
        On building: there is not enough memory.

    Examples
    --------
    >>> FullyConnected(units=4, output_dim=1).build(input_size=2)
    Wiring(2 sensory, 3 inter, 1 motor; 16 synapses, 8 sensory synapses)
    """

    units: int
    output_dim: int | None = None
    erev_init_seed: int = 1111
    self_connections: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed("erev_init_seed", self.erev_init_seed)

    def build(self, input_size: int) -> Wiring:
        """Draw the polarities for `input_size` sensory neurons."""
        check_size("input_size", input_size)
        check_room(self, int(self.units) * (int(self.units) + int(input_size)))
        rng = np.random.default_rng(self.erev_init_seed)
        source, target = _all_pairs(self.units, self.units)
        if not self.self_connections:
            source, target = source[source != target], target[source != target]
        recurrent = Synapses(source, target, _polarities(rng, len(source)))
        source, target = _all_pairs(input_size, self.units)
        sensory = Synapses(source, target, _polarities(rng, len(source)))
        return self._wiring(input_size, recurrent, sensory)


@checked(WiringError)
@dataclass(frozen=True)
class Random(_Uniform):
    """A given share of all synapses, drawn uniformly without replacement.

    Two of three synapses are excitatory. The wiring equals that of ``ncps`` 1.0.1 for the same
    arguments.

    Parameters
    ----------
    units, output_dim
        As in `FullyConnected`.
    sparsity_level
        Share of absent synapses, in [0, 1).
    random_seed
        Seed of the drawing.

    Raises
    ------
    WiringError
        `units` is not positive, `output_dim` is larger, or the sparsity is outside [0, 1).
    InputError
        On building: there is not enough memory.

    Examples
    --------
    >>> Random(units=10, output_dim=2, sparsity_level=0.8).build(input_size=3)
    Wiring(3 sensory, 8 inter, 2 motor; 20 synapses, 6 sensory synapses)
    """

    units: int
    output_dim: int | None = None
    sparsity_level: float = 0.0
    random_seed: int = 1111

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("sparsity_level", self.sparsity_level)
        if self.sparsity_level == 1:
            raise WiringError(
                "sparsity_level must be less than 1, got 1, which leaves no synapse; it is the "
                "share of absent ones"
            )
        check_seed("random_seed", self.random_seed)

    def build(self, input_size: int) -> Wiring:
        """Draw the wiring for `input_size` sensory neurons."""
        check_size("input_size", input_size)
        pairs = [int(self.units) * int(sources) for sources in (self.units, input_size)]
        # NumPy lists all pairs to draw more than one in fifty of them.
        listed = 8 * max(pairs) if self.sparsity_level <= 0.98 else 0
        check_room(self, sum(pairs) * (1 - self.sparsity_level), scratch=listed)
        rng = np.random.default_rng(self.random_seed)
        recurrent = self._draw(rng, self.units, draws=1)
        # ncps draws the polarity of a sensory synapse twice and keeps the second.
        sensory = self._draw(rng, input_size, draws=2)
        return self._wiring(input_size, recurrent, sensory)

    def _draw(self, rng: np.random.Generator, sources: int, draws: int) -> Synapses:
        pairs = sources * self.units
        count = int(np.round(pairs * (1 - self.sparsity_level)))
        chosen = rng.choice(pairs, size=count, replace=False)
        polarity = _polarities(rng, count * draws)[draws - 1 :: draws]
        return Synapses(chosen // self.units, chosen % self.units, polarity)


def _all_pairs(sources: int, targets: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return every (source, target), the target running fastest."""
    source, target = np.arange(sources, dtype=np.int32), np.arange(targets, dtype=np.int32)
    return np.repeat(source, targets), np.tile(target, sources)


def _polarities(rng: np.random.Generator, count: int) -> NDArray[np.int8]:
    return np.array([-1, 1, 1], dtype=np.int8)[rng.integers(0, 3, size=count)]
