"""Neural circuit policies: sensory, inter, command and motor layers after *C. elegans*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.families.recipe import (
    GrowingSynapses,
    Recipe,
    check_fan,
    check_room,
    check_seed,
    check_share,
)
from elegans.wiring.names import check_size
from elegans.wiring.wiring import Wiring


class _Policy(Recipe):
    """The layers of a neural circuit policy, named and sized."""

    inter_neurons: int
    command_neurons: int
    motor_neurons: int

    def __post_init__(self) -> None:
        for name in ("inter_neurons", "command_neurons", "motor_neurons"):
            check_size(name, getattr(self, name))

    @property
    def units(self) -> int:
        """Number of inter, command and motor neurons."""
        return self.inter_neurons + self.command_neurons + self.motor_neurons

    @property
    def output_size(self) -> int:
        """Number of motor neurons."""
        return self.motor_neurons

    def _layers(self) -> tuple[range, range, range]:
        """Return the indices of motor, command and inter neurons."""
        motor, command = self.motor_neurons, self.motor_neurons + self.command_neurons
        return range(motor), range(motor, command), range(command, self.units)

    def _wiring(self, input_size: int, *sets: GrowingSynapses) -> Wiring:
        names, layers = ("motor", "command", "inter"), map(len, self._layers())
        sizes = dict(zip(names, layers, strict=True))
        return Wiring(input_size, sizes, *(synapses.freeze() for synapses in sets))


@checked(WiringError)
@dataclass(frozen=True)
class NCP(_Policy):
    """A neural circuit policy with fixed fan-outs and fan-ins.

    1. Every sensory neuron reaches `sensory_fanout` inter neurons, every inter neuron
       `inter_fanout` command neurons, drawn without replacement.
    2. An inter or command neuron that nobody reached gets as many synapses as the others have on
       average (rounded down, at least one).
    3. `recurrent_command_synapses` pairs of command neurons are drawn with replacement, so that
       self-synapses occur and a pair drawn twice counts once.
    4. Every motor neuron draws `motor_fanin` command neurons; a command neuron that none has
       drawn reaches as many motor neurons as the others do on average (at least one).

    Polarities are +1 and -1 with equal probability. The wiring equals that of ``ncps`` 1.0.1 for
    the same arguments and seed, neuron for neuron and sign for sign. That includes its habit of
    limiting the repair of command neurons in step 2 to the number of *command* neurons.

    Parameters
    ----------
    inter_neurons, command_neurons, motor_neurons
        Sizes of the layers.
    sensory_fanout
        Synapses from each sensory neuron, at most `inter_neurons`.
    inter_fanout
        Synapses from each inter neuron, at most `command_neurons`.
    recurrent_command_synapses
        Draws of synapses among command neurons.
    motor_fanin
        Synapses onto each motor neuron, at most `command_neurons`.
    seed
        Seed of the drawing.

    Raises
    ------
    WiringError
        A size is not positive or a fan is larger than the layer it is drawn from.

    References
    ----------
    Lechner et al., "Neural circuit policies enabling auditable autonomy", Nature Machine
    Intelligence 2:642 (2020), methods.

    Examples
    --------
    >>> recipe = NCP(
    ...     inter_neurons=6, command_neurons=4, motor_neurons=1, sensory_fanout=3,
    ...     inter_fanout=2, recurrent_command_synapses=3, motor_fanin=2,
    ... )
    >>> recipe.build(input_size=2)
    Wiring(2 sensory, 6 inter, 4 command, 1 motor; 19 synapses, 8 sensory synapses)
    """

    inter_neurons: int
    command_neurons: int
    motor_neurons: int
    sensory_fanout: int
    inter_fanout: int
    recurrent_command_synapses: int
    motor_fanin: int
    seed: int = 22222

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fan("sensory_fanout", self.sensory_fanout, "inter", self.inter_neurons)
        check_fan("inter_fanout", self.inter_fanout, "command", self.command_neurons)
        check_fan("motor_fanin", self.motor_fanin, "command", self.command_neurons)
        check_size("recurrent_command_synapses", self.recurrent_command_synapses, least=0)
        check_seed("seed", self.seed, most=2**32 - 1)

    def build(self, input_size: int) -> Wiring:
        """Draw the wiring for `input_size` sensory neurons."""
        check_size("input_size", input_size)
        expected = (
            int(input_size) * self.sensory_fanout
            + self.inter_neurons * self.inter_fanout
            + self.motor_neurons * self.motor_fanin
            + self.recurrent_command_synapses
        )
        check_room(self, expected, each=GrowingSynapses.BYTES)
        rng = np.random.RandomState(self.seed)  # the generator of ncps; its streams never change
        sensors = range(input_size)
        motor, command, inter = self._layers()
        sensory, recurrent = GrowingSynapses(), GrowingSynapses()

        def fan_out(
            synapses: GrowingSynapses,
            sources: Sequence[int],
            targets: Sequence[int],
            fan: int,
            most: int,
        ) -> None:
            unreached = set(targets)
            for j in sources:
                for i in rng.choice(targets, size=fan, replace=False):
                    unreached.discard(int(i))
                    synapses.add(j, i, rng.choice([-1, 1]))
            mean = int(np.clip(len(sources) * fan // len(targets), 1, most))
            for i in sorted(unreached):
                for j in rng.choice(sources, size=mean, replace=False):
                    synapses.add(j, i, rng.choice([-1, 1]))

        fan_out(sensory, sensors, inter, self.sensory_fanout, most=len(sensors))
        fan_out(recurrent, inter, command, self.inter_fanout, most=len(command))
        for _ in range(self.recurrent_command_synapses):
            recurrent.add(rng.choice(command), rng.choice(command), rng.choice([-1, 1]))

        unread = set(command)
        for i in motor:
            for j in rng.choice(command, size=self.motor_fanin, replace=False):
                unread.discard(int(j))
                recurrent.add(j, i, rng.choice([-1, 1]))
        mean = int(np.clip(len(motor) * self.motor_fanin // len(command), 1, len(motor)))
        for j in sorted(unread):
            for i in rng.choice(motor, size=mean, replace=False):
                recurrent.add(j, i, rng.choice([-1, 1]))
        return self._wiring(input_size, recurrent, sensory)


@checked(WiringError)
@dataclass(frozen=True)
class AutoNCP(Recipe):
    """A neural circuit policy whose layer sizes and fans follow from two numbers and a sparsity.

    With density d = 1 - sparsity_level, of the units that are no outputs 40 % are command
    neurons (at least one) and the rest inter neurons; the fans are those of `ncp`, each at least
    1: sensory_fanout = inter d, inter_fanout = motor_fanin = command d,
    recurrent_command_synapses = 2 command d, rounded down.

    Parameters
    ----------
    units
        Number of neurons, at least `output_size` + 3.
    output_size
        Number of motor neurons.
    sparsity_level
        Share of absent synapses, from 0.1 to 1.
    seed
        Seed of the drawing.

    Raises
    ------
    WiringError
        No such circuit exists.

    Examples
    --------
    >>> AutoNCP(units=19, output_size=4).build(input_size=8)
    Wiring(8 sensory, 9 inter, 6 command, 4 motor; 45 synapses, 35 sensory synapses)
    """

    units: int
    output_size: int
    sparsity_level: float = 0.5
    seed: int = 22222

    def __post_init__(self) -> None:
        check_size("units", self.units)
        check_size("output_size", self.output_size)
        if self.output_size >= self.units - 2:
            raise WiringError(
                f"output_size must be less than units - 2, got {self.output_size} outputs of "
                f"{self.units} units; take at least {self.output_size + 3} units"
            )
        check_share("sparsity_level", self.sparsity_level, least=0.1)
        check_seed("seed", self.seed, most=2**32 - 1)

    @cached_property
    def ncp(self) -> NCP:
        """The recipe with all sizes and fans written out."""
        density = 1.0 - self.sparsity_level
        hidden = self.units - self.output_size
        command = max(int(0.4 * hidden), 1)
        inter = hidden - command
        return NCP(
            inter_neurons=inter,
            command_neurons=command,
            motor_neurons=self.output_size,
            sensory_fanout=max(int(inter * density), 1),
            inter_fanout=max(int(command * density), 1),
            recurrent_command_synapses=max(int(command * density * 2), 1),
            motor_fanin=max(int(command * density), 1),
            seed=self.seed,
        )

    def build(self, input_size: int) -> Wiring:
        """Draw the wiring for `input_size` sensory neurons."""
        return self.ncp.build(input_size)


@checked(WiringError)
@dataclass(frozen=True)
class BinomialNCP(_Policy):
    """A neural circuit policy with binomial fan-outs, as the published procedure describes it.

    1. Between consecutive layers (sensory, inter, command, motor) every source draws
       n ~ Binomial(N_target, p1) distinct targets; a synapse is excitatory with probability p2.
    2. A target that nobody drew gets max(1, Binomial(m, p3)) synapses from distinct sources, m
       being the mean in-degree of the targets that were drawn, rounded down, at least 1.
    3. Every command neuron draws n ~ Binomial(N_command, p4) distinct command neurons, itself
       allowed.

    Parameters
    ----------
    inter_neurons, command_neurons, motor_neurons
        Sizes of the layers.
    p1
        Probability of a synapse between consecutive layers.
    p2
        Probability that a synapse is excitatory.
    p3
        Probability of each synapse that a forgotten target may get.
    p4
        Probability of a synapse between command neurons.
    seed
        Seed of the drawing.

    Raises
    ------
    WiringError
        A size is not positive or a probability is outside [0, 1].

    References
    ----------
    Lechner et al., "Neural circuit policies enabling auditable autonomy", Nature Machine
    Intelligence 2:642 (2020), methods.

    Examples
    --------
    >>> BinomialNCP(inter_neurons=12, command_neurons=8, motor_neurons=2).build(input_size=4)
    Wiring(4 sensory, 12 inter, 8 command, 2 motor; 93 synapses, 28 sensory synapses)
    """

    inter_neurons: int
    command_neurons: int
    motor_neurons: int
    p1: float = 0.5
    p2: float = 0.5
    p3: float = 0.5
    p4: float = 0.5
    seed: int = 22222

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("p1", "p2", "p3", "p4"):
            check_share(name, getattr(self, name))
        check_seed("seed", self.seed)

    def build(self, input_size: int) -> Wiring:
        """Draw the wiring for `input_size` sensory neurons."""
        check_size("input_size", input_size)
        sizes = (input_size, self.inter_neurons, self.command_neurons, self.motor_neurons)
        pairs = sum(int(j) * int(i) for j, i in pairwise(sizes))
        expected = self.p1 * pairs + self.p4 * int(self.command_neurons) ** 2
        check_room(self, expected, each=GrowingSynapses.BYTES)
        rng = np.random.default_rng(self.seed)
        sensors = range(input_size)
        motor, command, inter = self._layers()
        sensory, recurrent = GrowingSynapses(), GrowingSynapses()

        def polarity() -> int:
            return 1 if rng.random() < self.p2 else -1

        def connect(
            synapses: GrowingSynapses, sources: Sequence[int], targets: Sequence[int], p: float
        ) -> dict[int, int]:
            in_degree = dict.fromkeys(targets, 0)
            for j in sources:
                fan = rng.binomial(len(targets), p)
                for i in rng.choice(targets, size=fan, replace=False):
                    synapses.add(j, i, polarity())
                    in_degree[int(i)] += 1
            return in_degree

        def repair(
            synapses: GrowingSynapses, sources: Sequence[int], in_degree: dict[int, int]
        ) -> None:
            reached = [degree for degree in in_degree.values() if degree]
            mean = max(1, sum(reached) // max(1, len(reached)))
            for i in (i for i, degree in in_degree.items() if not degree):
                fan = max(1, rng.binomial(mean, self.p3))
                for j in rng.choice(sources, size=fan, replace=False):
                    synapses.add(j, i, polarity())

        for synapses, sources, targets in (
            (sensory, sensors, inter),
            (recurrent, inter, command),
            (recurrent, command, motor),
        ):
            repair(synapses, sources, connect(synapses, sources, targets, self.p1))
        connect(recurrent, command, command, self.p4)
        return self._wiring(input_size, recurrent, sensory)
