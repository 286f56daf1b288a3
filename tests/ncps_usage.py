"""How ncps is used, written from its documentation and from what public programs do with it.

Every function is one pattern; it returns plain values that another library must return, too. Tests
run this file as it is, and with the one word of the imports changed.
"""

import copy
import io

import matplotlib.pyplot as plt
import ncps.torch
import ncps.wirings
import networkx as nx
import numpy as np
import torch
from ncps import wirings
from ncps.torch import LTC, CfC, CfCCell, LTCCell, WiredCfCCell
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random, Wiring
from torch import nn

# --- wirings -----------------------------------------------------------------------------


def a_wiring_is_a_wiring():
    """`isinstance(AutoNCP(28, 4), Wiring)`"""
    kinds = AutoNCP(28, 4), FullyConnected(8), Random(8, 2, 0.5), Wiring(8)
    return [isinstance(wiring, Wiring) for wiring in kinds], isinstance(3, Wiring)


def modules_by_attribute():
    """`from ncps import wirings`, `ncps.torch.LTC(…)`"""
    return ncps.torch.LTC(4, wirings.AutoNCP(12, 2)).state_size, ncps.wirings.AutoNCP is AutoNCP


def before_it_is_built():
    """Questions to a wiring before it is built"""
    wiring = AutoNCP(28, 4)
    return (
        (wiring.is_built(), wiring.units, wiring.input_dim, wiring.output_dim),
        (wiring.num_layers, wiring.synapse_count, wiring.sensory_adjacency_matrix),
        wiring.adjacency_matrix.tolist(),
    )


def fully_connected_before_it_is_built():
    """Synapses of `FullyConnected` and `Random` before they are built"""
    kinds = FullyConnected(6, 2), FullyConnected(6, self_connections=False), Random(9, 2, 0.5)
    return [(w.adjacency_matrix.tolist(), int(w.synapse_count), w.output_dim) for w in kinds]


def a_layer_builds_its_wiring():
    """`wiring = AutoNCP(…); LTC(8, wiring); wiring.adjacency_matrix`"""
    found = []
    for wiring in (
        AutoNCP(19, 4),
        FullyConnected(6, 2),
        Random(9, 2, 0.5),
        NCP(6, 4, 2, 3, 2, 3, 2),
    ):
        LTC(8, wiring)
        found.append((wiring.is_built(), wiring.input_dim, wiring.output_dim))
        found.append((wiring.adjacency_matrix.tolist(), wiring.sensory_adjacency_matrix.tolist()))
        found.append((int(wiring.synapse_count), int(wiring.sensory_synapse_count)))
    return found


def built_by_hand_first():
    """`wiring.build(8)` before the layer, which gets `None` for its inputs"""
    wiring = AutoNCP(19, 4)
    wiring.build(8)
    return LTC(None, wiring).sensory_size, wiring.sensory_adjacency_matrix.tolist()


def layers_of_neurons():
    """`num_layers`, `get_neurons_of_layer`, `get_type_of_neuron`"""
    wiring = AutoNCP(19, 4)
    wiring.build(3)
    flat = FullyConnected(6, 2)
    flat.build(3)
    return (
        [wiring.get_neurons_of_layer(k) for k in range(wiring.num_layers)],
        [wiring.get_type_of_neuron(k) for k in range(wiring.units)],
        (flat.num_layers, flat.get_neurons_of_layer(0)),
        [flat.get_type_of_neuron(k) for k in range(flat.units)],
    )


def reversal_potentials():
    """`erev_initializer`, `sensory_erev_initializer`"""
    wiring = AutoNCP(19, 4)
    wiring.build(3)
    return wiring.erev_initializer().tolist(), wiring.sensory_erev_initializer().tolist()


def the_graph():
    """`get_graph` and algorithms of networkx on it"""
    wiring = NCP(6, 4, 2, 3, 2, 3, 2)
    wiring.build(3)
    graph = wiring.get_graph()
    return (
        sorted(graph.nodes(data="neuron_type")),
        sorted(graph.edges(data="polarity")),
        nx.shortest_path_length(graph, "sensory_0", "neuron_0"),
    )


def a_drawing_with_a_legend():
    """`plt.legend(handles=wiring.draw_graph(draw_labels=True))`"""
    wiring = AutoNCP(12, 2)
    CfC(4, wiring)
    plt.figure(figsize=(4, 3))
    handles = wiring.draw_graph(draw_labels=True)
    plt.legend(handles=handles, loc="upper center")
    words = sorted(text.get_text() for text in plt.gca().texts)
    plt.close("all")
    return [handle.get_label() for handle in handles], words


def drawings_of_other_looks():
    """`draw_graph` with layouts and colors"""
    wiring = Random(6, 2, 0.5)
    wiring.build(2)
    shown = []
    for layout in ("kamada", "circular", "random", "shell", "spring", "spectral", "spiral"):
        handles = wiring.draw_graph(layout, {"command": "tab:cyan", "motor": "k"}, "gray")
        shown.append([(h.get_label(), h.get_facecolor()) for h in handles])
        plt.close("all")
    wiring.draw_graph(synapse_colors={"excitatory": "b", "inhibitory": "y"})
    plt.close("all")
    return [sorted(one) for one in shown]


def a_drawing_of_an_unknown_layout():
    """An unknown layout is a `ValueError`"""
    wiring = AutoNCP(12, 2)
    wiring.build(2)
    try:
        wiring.draw_graph(layout="unknown")
    except ValueError:
        return "ValueError"


def configurations():
    """`get_config`, `from_config`"""
    kinds = AutoNCP(19, 4, 0.6, 7), FullyConnected(6, 2), Random(9, 2, 0.5, 3)
    configs = [wiring.get_config() for wiring in kinds]
    again = [type(w).from_config(c) for w, c in zip(kinds, configs, strict=True)]
    for wiring in again:
        wiring.build(4)
    return configs, [wiring.sensory_adjacency_matrix.tolist() for wiring in again]


def wrong_wirings():
    """Arguments that are not valid are a `ValueError`"""
    said = []
    for make in (
        lambda: AutoNCP(6, 4),
        lambda: NCP(2, 4, 2, 3, 2, 3, 2),
        lambda: Random(6, 2, 1.5),
        lambda: Wiring(4).add_synapse(4, 0, 1),
        lambda: Wiring(4).add_synapse(0, 0, 2),
        lambda: Wiring(4).add_sensory_synapse(0, 0, 1),
    ):
        try:
            make()
        except ValueError:
            said.append("ValueError")
    return said


# --- wirings by hand ---------------------------------------------------------------------


def a_wiring_by_hand():
    """`Wiring(units)`, `set_input_dim`, `add_synapse`, …"""
    wiring = Wiring(5)
    wiring.set_output_dim(2)
    wiring.set_input_dim(3)
    for j, i, sign in ((2, 0, 1), (3, 1, -1), (4, 4, 1), (4, 2, -1)):
        wiring.add_synapse(j, i, sign)
    for j, i, sign in ((0, 4, 1), (1, 3, -1), (2, 3, 1)):
        wiring.add_sensory_synapse(j, i, sign)
    model = LTC(3, wiring)
    output, state = model(torch.zeros(2, 4, 3))
    return (
        (tuple(output.shape), tuple(state.shape), int(model.synapse_count)),
        (wiring.adjacency_matrix.tolist(), wiring.sensory_adjacency_matrix.tolist()),
        wiring.get_config(),
        sorted(wiring.get_graph().edges(data="polarity")),
    )


def an_evolved_wiring():
    """A NEAT genome written into the matrices"""
    genome = np.random.default_rng(0)
    wiring = Wiring(6)
    wiring.set_output_dim(2)
    wiring.set_input_dim(3)
    wiring.adjacency_matrix[:] = genome.integers(-1, 2, (6, 6))
    wiring.sensory_adjacency_matrix[:] = genome.integers(-1, 2, (3, 6))
    model = LTC(3, wiring)
    return int(model.synapse_count), tuple(model(torch.zeros(2, 4, 3))[0].shape)


class Ring(Wiring):
    """A subclass that draws its sensory synapses when it is built."""

    def __init__(self, units, output_dim):
        super().__init__(units)
        self.set_output_dim(output_dim)
        for i in range(units):
            self.add_synapse(i, (i + 1) % units, 1 if i % 2 else -1)

    def build(self, input_shape):
        super().build(input_shape)
        for j in range(self.input_dim):
            self.add_sensory_synapse(j, j % self.units, 1)


def a_wiring_of_ones_own():
    """A subclass of `Wiring` with a `build` of its own"""
    wiring = Ring(6, 2)
    model = LTC(3, wiring)
    return (
        tuple(model(torch.zeros(2, 4, 3))[0].shape),
        wiring.sensory_adjacency_matrix.tolist(),
        isinstance(wiring, Wiring),
    )


class Electrodes(Wiring):
    """Groups of neurons after electrodes of an EEG, each in a layer."""

    def __init__(self, groups, output_dim):
        super().__init__(groups * 3 + output_dim)
        self.set_output_dim(output_dim)
        self.groups = groups
        for k in range(output_dim, self.units):
            self.add_synapse(k, k % output_dim, 1)

    @property
    def num_layers(self):
        return 2

    def get_neurons_of_layer(self, layer_id):
        cut = self.output_dim
        return list(range(cut, self.units)) if layer_id == 0 else list(range(cut))

    def get_type_of_neuron(self, neuron_id):
        return "motor" if neuron_id < self.output_dim else "electrode"

    def build(self, input_dim):
        super().build(input_dim)
        for j in range(input_dim):
            self.add_sensory_synapse(j, self.output_dim + j % (self.groups * 3), 1)


def an_eeg_wiring():
    """A subclass with layers of its own, in `CfC`"""
    wiring = Electrodes(4, 3)
    output, state = CfC(12, wiring)(torch.zeros(2, 5, 12))
    return (
        (tuple(output.shape), tuple(state.shape), wiring.num_layers),
        [wiring.get_type_of_neuron(k) for k in (0, 3)],
        wiring.get_neurons_of_layer(0),
    )


# --- layers ------------------------------------------------------------------------------


def shapes(result):
    """Return the shapes of (output, state)."""
    output, state = result
    state = state if isinstance(state, tuple) else (state,)
    return tuple(output.shape), [tuple(one.shape) for one in state]


def an_ltc_of_units():
    """`LTC(20, 50)` with a first state"""
    return shapes(LTC(20, 50)(torch.randn(2, 3, 20), torch.zeros(2, 50)))


def an_ltc_on_a_wiring():
    """`LTC(20, NCP(…))`"""
    return shapes(LTC(20, NCP(10, 10, 8, 6, 6, 4, 6))(torch.randn(2, 3, 20), torch.zeros(2, 28)))


def a_cfc_of_units():
    """`CfC(20, 50)` and its modes"""
    x = torch.randn(2, 3, 20)
    return [shapes(CfC(20, 50, mode=mode)(x)) for mode in ("default", "pure", "no_gate")]


def a_cfc_with_a_backbone():
    """`CfC` with backbone, activation and projection"""
    model = CfC(20, 50, proj_size=4, activation="silu", backbone_units=32, backbone_layers=2)
    return shapes(model(torch.randn(2, 3, 20)))


def a_cfc_on_a_wiring():
    """`CfC(20, AutoNCP(…))`"""
    model = CfC(20, AutoNCP(28, 4))
    return shapes(model(torch.randn(2, 3, 20))), model.state_size, model.output_size


def a_cfc_on_a_wiring_without_layers():
    """`CfC(3, FullyConnected(8, 2))` returns all neurons"""
    return shapes(CfC(3, FullyConnected(8, 2))(torch.zeros(2, 5, 3)))


def mixed_memory():
    """`mixed_memory=True`, a pair of states"""
    found = []
    for kind in (LTC, CfC):
        model = kind(4, AutoNCP(12, 2), mixed_memory=True)
        output, pair = model(torch.randn(3, 5, 4))
        found += [shapes((output, pair)), shapes(model(torch.randn(3, 5, 4), pair))]
        found.append((model.use_mixed, isinstance(model.lstm, nn.Module)))
    return found


def sizes_of_a_layer():
    """`state_size`, `sensory_size`, `motor_size`, `output_size`, `synapse_count`"""
    model = LTC(4, AutoNCP(12, 2))
    return (
        (model.state_size, model.sensory_size, model.motor_size, model.output_size),
        (int(model.synapse_count), model.input_size, model.batch_first, model.return_sequences),
    )


def the_cell_of_a_layer():
    """`model.rnn_cell` and what it knows"""
    model = LTC(4, AutoNCP(12, 2))
    cell = model.rnn_cell
    output, state = cell(torch.zeros(3, 4), torch.zeros(3, 12))
    return isinstance(cell, LTCCell), cell.state_size, tuple(output.shape), tuple(state.shape)


def what_a_layer_was_made_of():
    """`wiring_or_units`"""
    return CfC(4, 12).wiring_or_units, LTC(4, AutoNCP(12, 2)).wiring_or_units.units


def time_first():
    """`batch_first=False`"""
    return [shapes(kind(4, AutoNCP(12, 2), batch_first=False)(torch.randn(7, 3, 4)))
            for kind in (LTC, CfC)]  # fmt: skip


def one_sequence():
    """A sequence without a batch"""
    model = LTC(4, AutoNCP(12, 2))
    return [shapes(model(torch.randn(7, 4))), shapes(model(torch.randn(7, 4), torch.zeros(12)))]


def the_last_output():
    """`return_sequences=False`"""
    return [shapes(kind(4, AutoNCP(12, 2), return_sequences=False)(torch.randn(3, 7, 4)))
            for kind in (LTC, CfC)]  # fmt: skip


def constraints_by_hand():
    """`implicit_param_constraints=False` and `apply_weight_constraints`"""
    model = LTC(4, AutoNCP(12, 2), implicit_param_constraints=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(2, 5, 4))[0].square().mean().backward()
        optimizer.step()
        model.rnn_cell.apply_weight_constraints()
    return all(bool((p >= 0).all()) for n, p in model.named_parameters() if n.endswith("gleak"))


def no_mapping():
    """`input_mapping="none"`, or any other word"""
    model = LTC(4, AutoNCP(12, 2), input_mapping="none", output_mapping=None)
    names = [name for name, _ in model.named_parameters()]
    return sum("map" in name or "put_" in name for name in names), shapes(
        model(torch.zeros(2, 3, 4))
    )


# --- elapsed times and states ------------------------------------------------------------


def one_clock_for_a_batch():
    """`timespans` (1, T), and (1, T, 1), for a batch"""
    x, clock, found = torch.randn(3, 5, 4), torch.rand(1, 5), []
    for kind in (LTC, CfC):
        model = kind(4, AutoNCP(12, 2))
        one = model(x, timespans=clock)[0]
        found.append(torch.allclose(one, model(x, timespans=clock.unsqueeze(-1))[0]))
        doubled = model(x, timespans=2 * clock)[0]
        found.append(torch.allclose(one, doubled))
    return found


def a_clock_for_every_neuron():
    """`timespans` (B, T, H), the same for every neuron"""
    model, x = LTC(4, AutoNCP(12, 2)), torch.randn(3, 5, 4)
    clock = torch.rand(1, 5)
    spread = clock.unsqueeze(-1).expand(3, 5, 12)
    return torch.allclose(model(x, timespans=clock)[0], model(x, timespans=spread)[0], atol=1e-6)


def one_state_for_a_batch():
    """`hx` (1, H) for a batch"""
    model, x, hx = LTC(4, AutoNCP(12, 2)), torch.randn(3, 5, 4), torch.rand(1, 12)
    return torch.allclose(model(x, hx)[0], model(x, hx.expand(3, 12))[0])


def states_go_on():
    """A state goes into the next call"""
    found = []
    for kind in (LTC, CfC):
        model, x = kind(4, AutoNCP(12, 2)), torch.randn(3, 6, 4)
        whole = model(x)[0]
        first, state = model(x[:, :2])
        rest = model(x[:, 2:], state)[0]
        found.append(torch.allclose(whole, torch.cat([first, rest], 1), atol=1e-6))
    return found


# --- cells -------------------------------------------------------------------------------


def a_drone():
    """`LTCCell` in a loop of one's own, by elapsed time"""
    wiring = AutoNCP(12, 2)
    cell = LTCCell(wiring, 6)
    state, commands = torch.zeros(1, cell.state_size), []
    for dt in (0.1, 0.05, 0.2):
        command, state = cell(torch.randn(1, 6), state, elapsed_time=dt)
        commands.append(tuple(command.shape))
    return commands, tuple(state.shape), cell.motor_size, wiring.is_built()


def a_cfc_cell_by_keywords():
    """`CfCCell(8, 19)(input=…, hx=…, ts=…)`"""
    cell = CfCCell(8, 19, backbone_units=0, backbone_layers=0)
    output, state = cell(input=torch.zeros(2, 8), hx=torch.zeros(2, 19), ts=torch.ones(2, 1))
    return tuple(output.shape), tuple(state.shape)


def a_wired_cfc_cell():
    """`WiredCfCCell(8, AutoNCP(…), mode)`"""
    cell = WiredCfCCell(8, AutoNCP(19, 4), "pure")
    output, state = cell(torch.zeros(2, 8), hx=torch.zeros(2, 19), timespans=1.0)
    return (tuple(output.shape), tuple(state.shape), cell.num_layers, cell.layer_sizes[-1] > 0)


# --- whole programs ----------------------------------------------------------------------


def trains(model, x, y, steps=30):
    """Whether training makes the error less."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    errors = []
    for _ in range(steps):
        optimizer.zero_grad()
        answer = model(x)
        answer = answer[0] if isinstance(answer, tuple) else answer
        error = nn.functional.mse_loss(answer, y)
        error.backward()
        optimizer.step()
        errors.append(error.item())
    return errors[-1] < errors[0]


def the_sine():
    """The tutorial: a sine and a cosine in, a sine of twice the frequency out"""
    t = np.linspace(0, 3 * np.pi, 48)
    x = torch.tensor(np.stack([np.sin(t), np.cos(t)], 1)[None], dtype=torch.float32)
    y = torch.tensor(np.sin(np.linspace(0, 6 * np.pi, 48)).reshape(1, 48, 1), dtype=torch.float32)
    wiring = AutoNCP(16, 1)
    return trains(LTC(2, wiring, batch_first=True), x, y), int(wiring.synapse_count)


class Classifier(nn.Module):
    """An LTC between a convolution and a linear map, as programs for EEG have it."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv1d(3, 8, 3, padding=1)
        wiring = AutoNCP(16, 5)
        self.rnn = LTC(8, wiring, return_sequences=False)
        self.head = nn.Linear(wiring.output_dim, 2)

    def forward(self, x):
        features = self.features(x.transpose(1, 2)).transpose(1, 2)
        output, _ = self.rnn(features)
        return self.head(output)


def an_eeg_classifier():
    """A layer inside a module with a head of `wiring.output_dim`"""
    return trains(Classifier(), torch.randn(4, 12, 3), torch.randn(4, 2))


class Extractor(nn.Module):
    """Features of a robot's policy that keep their state from step to step."""

    def __init__(self, inputs):
        super().__init__()
        self.rnn = CfC(inputs, AutoNCP(16, 4), batch_first=True)
        self.state = None

    def forward(self, observation):
        output, state = self.rnn(observation.unsqueeze(1), self.state)
        self.state = state.detach()
        return output[:, -1]


def a_policy_of_a_robot():
    """An extractor of PPO that keeps its detached state"""
    extractor = Extractor(6)
    features = [extractor(torch.randn(2, 6)) for _ in range(3)]
    features[-1].sum().backward()
    return [tuple(one.shape) for one in features], tuple(extractor.state.shape)


def spirals():
    """Irregular sequences, with elapsed times that all samples share"""
    t = torch.sort(torch.rand(20))[0]
    x = torch.stack([t.cos(), t.sin()], 1).expand(3, 20, 2).contiguous()
    model = CfC(2, 16, proj_size=2)
    spans = torch.diff(t, prepend=t.new_zeros(1)).reshape(1, 20, 1)
    return tuple(model(x, timespans=spans)[0].shape)


def copies():
    """`copy.deepcopy(model)`, `state_dict` of the copy"""
    found = []
    for kind in (LTC, CfC):
        model, x = kind(4, AutoNCP(12, 2)), torch.randn(2, 5, 4)
        same = copy.deepcopy(model)
        again = kind(4, AutoNCP(12, 2))
        again.load_state_dict(model.state_dict())
        found.append(torch.equal(model(x)[0], same(x)[0]) and torch.equal(model(x)[0], again(x)[0]))
    return found


def files():
    """`torch.save(model.state_dict())` and back"""
    model, x, file = LTC(4, AutoNCP(12, 2)), torch.randn(2, 5, 4), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = LTC(4, AutoNCP(12, 2))
    again.load_state_dict(torch.load(file))
    return torch.allclose(model(x)[0], again(x)[0])


def two_layers():
    """Two layers, one on the outputs of the other"""
    stack = nn.ModuleList([LTC(4, AutoNCP(12, 5)), CfC(5, AutoNCP(12, 2))])
    x = torch.randn(2, 6, 4)
    for layer in stack:
        x, _ = layer(x)
    return tuple(x.shape)


def a_wiring_for_two_layers():
    """A wiring for two layers of the same inputs"""
    wiring = AutoNCP(12, 2)
    first, second = LTC(4, wiring), LTC(4, wiring)
    return int(first.synapse_count) == int(second.synapse_count), wiring.input_dim


def gradients_reach_everything():
    """Every used parameter gets a gradient"""
    model = CfC(4, 12)
    model(torch.randn(2, 5, 4), timespans=torch.rand(1, 5))[0].sum().backward()
    return all(p.grad is not None for p in model.parameters() if p.requires_grad)


def scripts_on_devices():
    """`model.to(device)`, `model.double()`"""
    model = LTC(4, AutoNCP(12, 2)).to("cpu").double()
    return str(model(torch.randn(2, 5, 4).double(), torch.zeros(2, 12).double())[0].dtype)


def observations_of_numpy():
    """A float64 observation of NumPy"""
    observation = torch.from_numpy(np.zeros((1, 3, 4)))
    return tuple(LTC(4, AutoNCP(12, 2))(observation)[0].shape)
