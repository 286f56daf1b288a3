"""Liquid circuits as tensors: connections and free parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class Slots(NamedTuple):
    """Synapses in the order of their slots, each field of shape (synapse,)."""

    source: Tensor
    """Presynaptic index, an integer."""
    target: Tensor
    """Postsynaptic index, an integer."""
    polarity: Tensor | None
    """+1 or -1: the reversal potential is polarity * abs(erev). None: it is erev."""
    weight: Tensor
    sigma: Tensor
    mu: Tensor
    erev: Tensor


class Circuit(NamedTuple):
    """A liquid circuit before constraints are applied.

    Synaptic weights, leak conductances and capacitances are the positive values of their
    parameters, by `positivity`: ``"softplus"``, ``"clip"`` (at 0; capacitances at `floor`), or
    ``"identity"`` where they are positive already.
    """

    scale: Tensor | None
    """Factor of the inputs, (input,)."""
    shift: Tensor | None
    """Offset of the inputs, (input,)."""
    out_scale: Tensor | None
    """Factor of the outputs, (output,)."""
    out_shift: Tensor | None
    """Offset of the outputs, (output,)."""
    recurrent: Slots
    sensory: Slots
    gleak: Tensor
    """Leak conductance, (neuron,)."""
    vleak: Tensor
    """Leak potential, (neuron,)."""
    cm: Tensor
    """Capacitance, (neuron,)."""
    outputs: int
    """Number of outputs, which are the first neurons."""
    positivity: str
    floor: float
    epsilon: float
    """A conductance towards potential 0 at every neuron."""

    @property
    def parameters(self) -> tuple[Tensor | None, ...]:
        """The tensors that have gradients."""
        return (
            self.scale,
            self.shift,
            self.out_scale,
            self.out_shift,
            *self.recurrent[3:],
            *self.sensory[3:],
            self.gleak,
            self.vleak,
            self.cm,
        )

    @property
    def connections(self) -> tuple[Tensor | None, ...]:
        """The tensors that say who is connected to whom, and how."""
        return (*self.recurrent[:3], *self.sensory[:3])

    def holding(self, parameters: tuple[Any, ...], connections: tuple[Any, ...]) -> Circuit:
        """Return this circuit with other tensors in the order of the two properties."""
        scale, shift, out_scale, out_shift, *synapses = parameters[:12]
        gleak, vleak, cm = parameters[12:]
        return Circuit(
            scale,
            shift,
            out_scale,
            out_shift,
            Slots(*connections[:3], *synapses[:4]),
            Slots(*connections[3:], *synapses[4:]),
            gleak,
            vleak,
            cm,
            self.outputs,
            self.positivity,
            self.floor,
            self.epsilon,
        )
