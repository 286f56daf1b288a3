"""Wirings equal those of ncps 1.0.1 for the same arguments, neuron for neuron, sign for sign."""

import random

import numpy as np
import pytest
from ncps import wirings as ncps

from elegans.errors import WiringError
from elegans.wiring import NCP, AutoNCP, FullyConnected, Random


def assert_same(ours, theirs, input_size):
    theirs.build(input_size)
    wiring = ours.build(input_size)
    np.testing.assert_array_equal(wiring.adjacency(), theirs.adjacency_matrix)
    np.testing.assert_array_equal(wiring.sensory_adjacency(), theirs.sensory_adjacency_matrix)
    assert wiring.output_size == theirs.output_dim
    assert wiring.synapse_count == theirs.synapse_count
    assert wiring.sensory_synapse_count == theirs.sensory_synapse_count
    types = [theirs.get_type_of_neuron(i) for i in range(theirs.units)]
    assert wiring.layer_of.tolist() == types


def draws(seed, count):
    return [random.Random(f"{seed} {k}") for k in range(count)]


def ncp_arguments(draw):
    inter, command, motor = draw.randint(1, 25), draw.randint(1, 15), draw.randint(1, 8)
    return {
        "inter_neurons": inter,
        "command_neurons": command,
        "motor_neurons": motor,
        "sensory_fanout": draw.randint(1, inter),
        "inter_fanout": draw.randint(1, command),
        "recurrent_command_synapses": draw.randint(0, 3 * command),
        "motor_fanin": draw.randint(1, command),
        "seed": draw.randint(0, 2**32 - 1),
    }


@pytest.mark.slow
def test_ncp():
    for draw in draws("ncp", 150):
        arguments = ncp_arguments(draw)
        assert_same(NCP(**arguments), ncps.NCP(**arguments), draw.randint(1, 20))


@pytest.mark.slow
def test_auto_ncp():
    for draw in draws("auto", 150):
        outputs = draw.randint(1, 10)
        arguments = {
            "units": outputs + draw.randint(3, 45),
            "output_size": outputs,
            "sparsity_level": draw.choice([0.1, 0.5, 0.9, 1.0, draw.uniform(0.1, 1.0)]),
            "seed": draw.randint(0, 10**6),
        }
        assert_same(AutoNCP(**arguments), ncps.AutoNCP(**arguments), draw.randint(1, 20))


def test_defaults():
    assert_same(AutoNCP(19, 4), ncps.AutoNCP(19, 4), 8)
    assert_same(FullyConnected(6), ncps.FullyConnected(6), 3)
    assert_same(Random(6), ncps.Random(6), 3)


def test_fully_connected():
    for draw in draws("full", 60):
        units = draw.randint(1, 20)
        arguments = {
            "units": units,
            "output_dim": draw.choice([None, draw.randint(1, units)]),
            "erev_init_seed": draw.randint(0, 10**6),
            "self_connections": draw.random() < 0.5,
        }
        assert_same(
            FullyConnected(**arguments), ncps.FullyConnected(**arguments), draw.randint(1, 12)
        )


def test_random():
    for draw in draws("random", 60):
        units = draw.randint(1, 20)
        arguments = {
            "units": units,
            "output_dim": draw.choice([None, draw.randint(1, units)]),
            "sparsity_level": draw.choice([0.0, 0.5, 0.99, draw.random()]),
            "random_seed": draw.randint(0, 10**6),
        }
        assert_same(Random(**arguments), ncps.Random(**arguments), draw.randint(1, 12))


NCP_LIMITS = {"inter_neurons": 5, "command_neurons": 3, "motor_neurons": 2, "sensory_fanout": 2,
              "inter_fanout": 2, "recurrent_command_synapses": 2, "motor_fanin": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        ("NCP", NCP_LIMITS | {"sensory_fanout": 6}),
        ("NCP", NCP_LIMITS | {"inter_fanout": 4}),
        ("NCP", NCP_LIMITS | {"motor_fanin": 4}),
        ("AutoNCP", {"units": 6, "output_size": 4}),
        ("AutoNCP", {"units": 6, "output_size": 2, "sparsity_level": 0.09}),
        ("AutoNCP", {"units": 6, "output_size": 2, "sparsity_level": 1.01}),
        ("Random", {"units": 6, "sparsity_level": 1.0}),
        ("Random", {"units": 6, "sparsity_level": -0.1}),
    ],
)
def test_what_ncps_refuses_is_refused(family, arguments):
    ours = {"NCP": NCP, "AutoNCP": AutoNCP, "Random": Random}[family]
    with pytest.raises(ValueError):  # noqa: PT011, the text is theirs
        getattr(ncps, family)(**arguments)
    changed = [name for name in arguments if arguments[name] != NCP_LIMITS.get(name)]
    with pytest.raises(WiringError, match="|".join(changed)):
        ours(**arguments)


def test_fans_at_their_limits_are_accepted_by_both():
    full = NCP_LIMITS | {"sensory_fanout": 5, "inter_fanout": 3, "motor_fanin": 3}
    assert_same(NCP(**full), ncps.NCP(**full), 4)
