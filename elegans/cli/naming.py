"""Neurons that bear the names of the columns they see and answer."""

from __future__ import annotations

from collections.abc import Sequence

from elegans.wiring import Recipe, Wiring


def named(recipe: Recipe, inputs: Sequence[str], targets: Sequence[str]) -> Wiring:
    """Draw a wiring whose sensory and motor neurons are called after `inputs` and `targets`.

    A target that would have the name of another neuron is marked as an answer.

    Examples
    --------
    >>> from elegans.wiring import FullyConnected
    >>> wiring = named(FullyConnected(3, 1), inputs=["speed"], targets=["speed"])
    >>> wiring.sensory_names, wiring.names
    (('speed',), ('speed (answer)', 'inter_0', 'inter_1'))
    """
    wiring = recipe.build(len(inputs))
    hidden = wiring.names[len(targets) :]
    taken = {*inputs, *hidden}
    motor = [f"{name} (answer)" if name in taken else name for name in targets]
    return Wiring(
        wiring.input_size,
        wiring.layers,
        wiring.recurrent,
        wiring.sensory,
        names=[*motor, *hidden],
        sensory_names=inputs,
    )
