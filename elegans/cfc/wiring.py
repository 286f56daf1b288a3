"""The connections along which a wired CfC reads."""

from __future__ import annotations

import numpy as np

from elegans.wiring import Synapses, Wiring


def with_own_states(wiring: Wiring) -> Wiring:
    """Return the wiring with a self-synapse, polarity +1, at each neuron that has none.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> with_own_states(AutoNCP(units=19, output_size=4).build(8))
    Wiring(8 sensory, 9 inter, 6 command, 4 motor; 63 synapses, 35 sensory synapses)
    """
    recurrent = wiring.recurrent
    own = recurrent.source[recurrent.source == recurrent.target]
    missing = np.setdiff1d(np.arange(wiring.units), own)
    return wiring.with_synapses(_joined(recurrent, missing, missing), wiring.sensory)


def with_ncps_connections(wiring: Wiring) -> Wiring:
    """Return the wiring that a wired CfC of ``ncps`` makes of `wiring`.

    Layer follows layer from the input to the motor neurons. Of the synapses between layers those
    from each layer to the next remain, of the sensory ones those to the first; inside a layer
    every neuron reaches every neuron, with the polarity it has or +1. Parallel synapses become
    one.

    Examples
    --------
    >>> from elegans.wiring import AutoNCP
    >>> with_ncps_connections(AutoNCP(units=19, output_size=4).build(8))
    Wiring(8 sensory, 9 inter, 6 command, 4 motor; 172 synapses, 35 sensory synapses)
    """
    stage = stage_of(wiring)
    recurrent, sensory = _single(wiring.recurrent), _single(wiring.sensory)
    step = stage[recurrent.target] - stage[recurrent.source]
    recurrent = _subset(recurrent, (step == 0) | (step == 1))
    existing = set(zip(recurrent.source.tolist(), recurrent.target.tolist(), strict=True))
    source, target = np.nonzero(stage[:, None] == stage)
    new = [
        pair for pair in zip(source.tolist(), target.tolist(), strict=True) if pair not in existing
    ]
    source, target = np.array(new, dtype=np.int64).reshape(-1, 2).T
    return wiring.with_synapses(
        _joined(recurrent, source, target), _subset(sensory, stage[sensory.target] == 0)
    )


def with_all_gates(wiring: Wiring) -> Wiring:
    """Return the wiring along which the time gates of ``ncps`` read, which know no mask.

    Every neuron reads all of its layer and of the layer before it, or of the inputs.
    """
    stage = stage_of(wiring)
    step = stage - stage[:, None]  # [source, target]
    source, target = np.nonzero((step == 0) | (step == 1))
    pairs = np.broadcast_to(stage == 0, (wiring.input_size, wiring.units))
    empty = Synapses.empty()
    return wiring.with_synapses(_joined(empty, source, target), _joined(empty, *np.nonzero(pairs)))


def stage_of(wiring: Wiring) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return when each neuron is updated within a step: 0 for the layer nearest to the input."""
    sizes = list(wiring.layers.values())
    return np.repeat(np.arange(len(sizes))[::-1], sizes)


def _joined(synapses: Synapses, source: np.ndarray, target: np.ndarray) -> Synapses:
    """Return the synapses and new ones of polarity +1."""
    return Synapses(
        np.concatenate([synapses.source, source]),
        np.concatenate([synapses.target, target]),
        np.concatenate([synapses.polarity, np.ones(len(source), dtype=np.int8)]),
    )


def _subset(synapses: Synapses, which: np.ndarray) -> Synapses:
    return Synapses(synapses.source[which], synapses.target[which], synapses.polarity[which])


def _single(synapses: Synapses) -> Synapses:
    """Return the synapses with one of each set of parallel ones, which are sorted together."""
    same = (np.diff(synapses.source) == 0) & (np.diff(synapses.target) == 0)
    return _subset(synapses, np.concatenate([np.ones(min(1, len(synapses)), dtype=bool), ~same]))
