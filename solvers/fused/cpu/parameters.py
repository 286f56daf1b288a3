"""Maps from free parameters to the values of the equation, and of gradients back.

Kernels read the synapses in the order of their targets; parameters are held in the order of their
slots. `order` (synapse,) holds the slot of each place in that order, or nothing if the orders are
the same. Where a value is the parameter, the array for it has length 0 and the parameter serves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from elegans.solvers.fused.cpu.compiling import INLINE, kernel
from elegans.solvers.fused.cpu.sigmoid import sigmoid, softplus
from elegans.solvers.fused.cpu.vectors import clamp, load_part, splat, store_part, where_less
from elegans.solvers.fused.settings import POSITIVITY

Array = Any

IDENTITY, SOFTPLUS, CLIP = (POSITIVITY.index(name) for name in ("identity", "softplus", "clip"))
"""How a parameter becomes a positive value."""

LANES = (0,) * 16


@njit(**INLINE)
def positive(raw: Array, kind: int, floor: Any, into: Array) -> None:
    """Write the positive values of the parameters `raw`; CLIP: at least `floor`."""
    most = raw.dtype.type(np.inf)
    for k in range(0, len(raw), len(LANES)):
        value = load_part(raw, k, len(raw) - k, LANES)
        if kind == SOFTPLUS:
            value = softplus(value)
        elif kind == CLIP:
            value = clamp(value, floor, most)
        store_part(into, k, len(raw) - k, value)


@njit(**INLINE)
def positive_back(raw: Array, kind: int, floor: Any, gradient: Array) -> None:
    """Turn the gradient of the positive values into that of the parameters, in place."""
    if kind == IDENTITY:
        return
    zero, one, far = raw.dtype.type(0), raw.dtype.type(1), raw.dtype.type(20)
    for k in range(0, len(raw), len(LANES)):
        value = load_part(raw, k, len(raw) - k, LANES)
        slope = splat(one, LANES)
        if kind == SOFTPLUS:
            slope = where_less(value, far, sigmoid(value), slope)
        else:
            slope = where_less(value, floor, splat(zero, LANES), slope)
        incoming = load_part(gradient, k, len(raw) - k, LANES)
        store_part(gradient, k, len(raw) - k, incoming * slope)


@njit(**INLINE)
def _sort(values: Array, order: Array) -> None:
    room = values.copy()
    for k in range(len(order)):
        values[k] = room[order[k]]


@njit(**INLINE)
def _synapse_values(free: Any, kind: int, into: Any) -> None:
    (weight, sigma, mu, erev), polarity, order = free
    if len(into[0]):
        positive(weight, kind, weight.dtype.type(0), into[0])
    if len(into[1]):
        into[1][:] = sigma
    if len(into[2]):
        into[2][:] = mu
    if len(into[3]):
        into[3][:] = erev
        for k in range(len(polarity)):
            into[3][k] = polarity[k] * abs(erev[k])
    if len(order):
        for k in range(4):
            _sort(into[k], order)


@njit(**INLINE)
def _synapse_gradients(
    parts: Array, interleaved: bool, value: Any, free: Any, kind: int, into: Any
) -> None:
    """Sum `parts` (part, 4 synapses) into the gradients of the parameters.

    A part begins with four numbers for each synapse, `interleaved`, or else with one of them for
    all. They lack factors that are the same for all samples: 1 (weight), w (sigma), -w sigma (mu)
    and w (erev).
    """
    weight, sigma = value[0], value[1]
    raw, polarity, order = free
    apart, step = (1, 4) if interleaved else (len(weight), 1)
    zero = weight.dtype.type(0)
    for e in range(len(weight)):
        slot = order[e] if len(order) else e
        a, b, c, d = zero, zero, zero, zero
        for part in range(len(parts)):
            a += parts[part, step * e]
            b += parts[part, apart + step * e]
            c += parts[part, 2 * apart + step * e]
            d += parts[part, 3 * apart + step * e]
        into[0][slot] = a
        into[1][slot] = b * weight[e]
        into[2][slot] = -c * weight[e] * sigma[e]
        into[3][slot] = d * weight[e]
    positive_back(raw[0], kind, zero, into[0])
    for k in range(len(polarity)):
        into[3][k] *= polarity[k] if raw[3][k] >= zero else -polarity[k]


@kernel()
def keep_sign(erev: Array, polarity: Array, answer: Array) -> None:
    """Set answer[0]: whether polarity * abs(erev) is erev everywhere."""
    answer[0] = True
    for k in range(len(erev)):
        if polarity[k] * abs(erev[k]) != erev[k]:
            answer[0] = False
            return


@kernel()
def values(
    recurrent: Any,
    sensory: Any,
    neuron: Any,
    limits: Any,
    into: Any,
    sensory_into: Any,
    rows: Array,
) -> None:
    """Fill the values of synapses, 4 x (synapse,), and neurons, `rows` (3, neuron).

    Synapses are the tuple of their parameters, 4 x (synapse,) weight, sigma, mu, erev, polarity,
    which where given fixes the signs of erev, and order. Neurons are 3 x (neuron,) leak
    conductance, leak potential, capacitance; their values are capacitance, leak conductance with
    epsilon, and leak drive. `limits` is the tuple of the kind of positive values, the floor of
    capacitances, and epsilon.
    """
    kind, floor, epsilon = limits
    _synapse_values(recurrent, kind, into)
    _synapse_values(sensory, kind, sensory_into)
    gleak, vleak, cm = neuron
    number = gleak.dtype.type
    positive(cm, kind, number(floor), rows[0])
    positive(gleak, kind, number(0), rows[1])
    for i in range(len(gleak)):
        rows[2, i] = rows[1, i] * vleak[i]
        rows[1, i] += number(epsilon)


@kernel()
def gradients(
    results: Any, value: Any, recurrent: Any, sensory: Any, neuron: Any, limits: Any, into: Any
) -> None:
    """Fill the gradients of everything that `values` was given, from those of its results.

    `results` is the tuple of these, in parts (part, 4 synapses) twice and (part, 3, neuron), and
    whether they are interleaved; `value` are those of recurrent and of sensory synapses. `into`
    has arrays like the parameters of both and of neurons.
    """
    of_recurrent, of_sensory, of_neurons, interleaved = results
    kind, floor, _ = limits
    _synapse_gradients(of_recurrent, interleaved, value[0], recurrent, kind, into[0])
    _synapse_gradients(of_sensory, interleaved, value[1], sensory, kind, into[1])
    gleak, vleak, cm = neuron
    number = gleak.dtype.type
    positive(gleak, kind, number(0), into[2][1])  # conductances, until they are used
    for i in range(len(gleak)):
        from_c, from_g, from_a = number(0), number(0), number(0)
        for part in range(len(of_neurons)):
            from_c += of_neurons[part, 0, i]
            from_g += of_neurons[part, 1, i]
            from_a += of_neurons[part, 2, i]
        into[2][2][i] = from_c
        into[2][0][i] = from_g + from_a * vleak[i]
        into[2][1][i] *= from_a
    positive_back(gleak, kind, number(0), into[2][0])
    positive_back(cm, kind, number(floor), into[2][2])
