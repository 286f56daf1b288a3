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


class Junctions(NamedTuple):
    """Electrical synapses in the order of their slots, each field of shape (junction,)."""

    source: Tensor
    """Index of the one end, an integer."""
    target: Tensor
    """Index of the other end."""
    rectifying: Tensor
    """Whether current flows from source to target only."""
    weight: Tensor


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
    """Number of outputs that are the first neurons."""
    positivity: str
    floor: float
    epsilon: float
    """A conductance towards potential 0 at every neuron."""
    electrical: Junctions | None = None
    """Gap junctions, if there are any."""

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
            None if self.electrical is None else self.electrical.weight,
        )

    @property
    def connections(self) -> tuple[Tensor | None, ...]:
        """The tensors that say who is connected to whom, and how."""
        junctions = (None,) * 3 if self.electrical is None else self.electrical[:3]
        return (*self.recurrent[:3], *self.sensory[:3], *junctions)

    def holding(self, parameters: tuple[Any, ...], connections: tuple[Any, ...]) -> Circuit:
        """Return this circuit with other tensors in the order of the two properties."""
        scale, shift, out_scale, out_shift, *synapses = parameters[:12]
        gleak, vleak, cm, weight = parameters[12:]
        junctions = (
            None
            if weight is None
            else Junctions(connections[6], connections[7], connections[8], weight)
        )
        return self._replace(
            scale=scale,
            shift=shift,
            out_scale=out_scale,
            out_shift=out_shift,
            recurrent=Slots(*connections[:3], *synapses[:4]),
            sensory=Slots(*connections[3:6], *synapses[4:]),
            gleak=gleak,
            vleak=vleak,
            cm=cm,
            electrical=junctions,
        )
