"""Pictures of circuits that are too large for one line a synapse: matrices and layers."""

import time
import tracemalloc
from itertools import islice

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from pictures import BLUE, GOLD, GREY, VERMILION, collection, gids, legend, texts

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import elegans
from elegans.cli import main
from elegans.errors import WiringError
from elegans.reporting import draw_changes, draw_circuit, save_figure
from elegans.wiring import AutoNCP, FullyConnected, Layered, Synapses, Wiring
from elegans.wiring.drawing.classes import bundles
from elegans.wiring.drawing.matrix import CELLS, Side
from elegans.wiring.drawing.strands import Drawing
from elegans.wiring.drawing.views import view_of

LARGE_VIEWS = ("matrix", "classes")


@pytest.fixture
def wiring():
    return AutoNCP(units=19, output_size=4).build(input_size=8)


@pytest.fixture
def ax():
    return Figure(figsize=(7, 6)).add_axes((0, 0, 1, 1))


def cells(ax):
    """Return the values of the cells, 0 where none is drawn."""
    return collection(ax, "synapses").get_array().filled(0.0)


def scale_of(ax):
    (bar,) = ax.child_axes
    return bar


def grown_and_cut(wiring, count=12):
    cut = [(j, i) for j, i, _ in wiring.recurrent][:count]
    there = {(j, i) for j, i, _ in wiring.recurrent}
    sources = range(wiring.output_size, wiring.units)
    free = ((j, i) for j in sources for i in range(wiring.units) if (j, i) not in there)
    grown = [(j, i, 1 - 2 * (k % 2)) for k, (j, i) in enumerate(islice(free, count))]
    return wiring.edit(remove=cut, add=grown)


# --- which view ------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "view"), [(92, "circuit"), (93, "matrix")])
def test_from_101_neurons_on_the_matrix_is_drawn(ax, units, view):
    wiring = AutoNCP(units, 4).build(8)
    assert view_of(wiring) == view
    wiring.draw(ax=ax)
    assert ("boundaries" in gids(ax)) == (view == "matrix")
    assert ("motor" in gids(ax)) == (view == "circuit")


def test_a_layout_asks_for_the_circuit(ax):
    AutoNCP(120, 4).build(8).draw(ax=ax, layout="layered")
    assert "motor" in gids(ax)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "tree"}, r"got the view 'tree', expected one of \['auto', 'circuit', 'matrix', "),
        ({"view": "matrix", "layout": "spring"}, "got layout='spring' for the view 'matrix', exp"),
        ({"view": "matrix", "weights": np.ones(45)}, "got no sensory_weights, expected those of"),
        ({"view": "classes", "weights": [1.0]}, "weights must hold one number for each"),
        ({"view": "matrix", "before": AutoNCP(20, 4).build(8)}, "same neurons, but its layers"),
    ],
)
def test_options_are_checked(wiring, ax, options, message):
    with pytest.raises(WiringError, match=message):
        wiring.draw(ax=ax, **options)
    assert not ax.collections


@pytest.mark.parametrize("view", ["auto", "circuit", "matrix", "classes"])
def test_the_command_draws_every_view_of_a_file(wiring, tmp_path, view):
    wiring.save(tmp_path / "circuit.json")
    out = tmp_path / f"{view}.svg"
    assert main(["draw", str(tmp_path / "circuit.json"), "--view", view, "--out", str(out)]) == 0
    assert ("boundaries" in out.read_text()) == (view == "matrix")


@pytest.mark.slow
def test_the_command_draws_a_run_before_and_after(tmp_path):
    model = elegans.LTC(8, AutoNCP(110, 4))
    run = elegans.training.RunFolder.create(tmp_path / "run", model, {"command": "train"})
    before = model.wiring
    mask = torch.ones(len(model.cell.recurrent.source), dtype=torch.bool)
    mask[:40] = False
    model.cell.recurrent.set_mask(mask)
    run.write_result(model)
    for view in ("auto", "classes"):
        assert main(["draw", str(run.path), "--view", view]) == 0
        assert (run.path / "wiring.png").read_bytes().startswith(b"\x89PNG")
    assert elegans.load(run.path).synapse_count == before.synapse_count - 40


# --- the matrix ------------------------------------------------------------------------------


def test_a_cell_is_a_synapse_from_its_column_to_its_row(wiring, ax):
    weights = np.linspace(0.1, 2.0, wiring.synapse_count)
    sensory = np.linspace(0.3, 0.5, wiring.sensory_synapse_count)
    wiring.draw(ax=ax, view="matrix", weights=weights, sensory_weights=sensory)
    # Layers from the input to the output: 8 sensory, 9 inter, 6 command, 4 motor neurons.
    column = np.r_[23:27, 17:23, 8:17]  # of neurons, whose numbers begin at the output
    expected = np.zeros((19, 27))
    for (j, i, sign), weight in zip(wiring.recurrent, weights, strict=True):
        expected[column[i] - 8, column[j]] = sign * weight
    for (j, i, sign), weight in zip(wiring.sensory, sensory, strict=True):
        expected[column[i] - 8, j] = sign * weight
    assert np.allclose(cells(ax), expected)
    assert ax.get_ylim() == (1, 0)  # targets from top to bottom
    assert scale_of(ax).get_ylabel() == "signed weight"  # no cell holds a sum


def test_colours_tell_the_sign_and_white_is_nothing(wiring, ax):
    wiring.draw(ax=ax, view="matrix")
    mesh = collection(ax, "synapses")
    shades = mesh.cmap(mesh.norm(np.array([-1.0, 0.0, 1.0])))[:, :3]
    assert np.allclose(shades, [VERMILION, (1, 1, 1), BLUE], atol=0.01)
    weak = mesh.cmap(mesh.norm(0.04))[:3]
    assert min(weak) < 0.85  # a synapse of 4 % of the strongest is not lost
    assert mesh.get_array().mask.sum() == 19 * 27 - 80
    assert legend(ax) == ["excitatory (42)", "inhibitory (38)"]
    assert scale_of(ax).get_ylabel() == "net number of synapses"


def test_boundaries_stand_between_the_layers(wiring, ax):
    wiring.draw(ax=ax, view="matrix")
    places = {tuple(line[0]) for line in collection(ax, "boundaries").get_segments()}
    assert len(places) == 5  # three between columns, two between rows
    assert {"sensory\n8", "inter\n9", "command\n6", "motor\n4", "source", "target"} <= {*texts(ax)}
    assert texts(ax).count("inter\n9") == 2  # above the columns and beside the rows
    assert texts(ax).count("sensory\n8") == 1  # nothing leads to a sensory neuron


def test_what_cancels_is_grey_and_what_is_summed_is_net(ax):
    both = Wiring(1, {"motor": 2}, Synapses([0, 0, 1], [1, 1, 0], [1, -1, 1]), Synapses.empty())
    both.draw(ax=ax, view="matrix", weights=[1.0, 2.0, 2.0], quantity="conductance")
    assert collection(ax, "cancelled").get_array().mask.sum() == 5
    assert any("rey: excitation and inhibition cancel" in text for text in texts(ax))
    assert cells(ax).tolist() == [[0, 0, 1], [0, 0, 0]]
    assert scale_of(ax).get_ylabel() == "net conductance"


@pytest.mark.parametrize("neurons", [CELLS, CELLS + 1, 3 * CELLS])
def test_neighbours_share_cells_and_nothing_is_lost(ax, neurons):
    wiring = FullyConnected(neurons - 2, 3).build(2)
    wiring.draw(ax=ax, view="matrix")
    mesh = collection(ax, "synapses")
    total = sum(int(s.polarity.sum()) for s in (wiring.recurrent, wiring.sensory))
    assert round(cells(ax).sum()) == total
    assert max(mesh.get_array().shape) <= CELLS + 3  # a layer may end in a part of a cell
    assert any("sums the synapses from" in text for text in texts(ax)) == (neurons > CELLS)
    assert "of a cell" in scale_of(ax).get_ylabel() or neurons == CELLS


def test_cells_never_join_two_layers():
    layers = {"sensory": range(3), "inter": range(13, 1013), "motor": range(3, 13)}
    side = Side.of(layers, 1013)
    assert side.per == 3
    for inside in layers.values():
        own = {*side.cell[inside.start : inside.stop]}
        others = np.delete(side.cell, np.arange(inside.start, inside.stop))
        assert not own & {*others}
    assert side.edges[-1] == pytest.approx(1.0)
    assert (np.diff(side.edges) > 0).all()
    for start, end in side.spans.values():
        assert end - start >= 0.09 - 1e-12  # three neurons of a thousand can be seen


def test_changes_are_marked_in_their_cells(wiring, ax):
    after = grown_and_cut(wiring)
    after.draw(ax=ax, view="matrix", before=wiring)
    assert legend(ax)[2:] == ["cut, net (12)", "grown, net (12)"]
    for kind in ("cut", "grown", "halo"):
        assert len(collection(ax, kind).get_offsets()) == 12
    assert tuple(collection(ax, "cut").get_edgecolors()[0][:3]) == GREY
    assert tuple(collection(ax, "halo").get_facecolors()[0][:3]) == GOLD
    mesh = collection(ax, "synapses")
    assert mesh.get_alpha() < 0.5  # what stays stands back
    edges = mesh.get_coordinates()
    columns, rows = edges[0, :, 0], edges[:, 0, 1]
    for (x, y), color in zip(
        collection(ax, "grown").get_offsets(), collection(ax, "grown").get_facecolors(), strict=True
    ):
        value = cells(ax)[np.searchsorted(rows, y) - 1, np.searchsorted(columns, x) - 1]
        assert abs(value) == 1
        assert np.allclose(color[:3], BLUE if value > 0 else VERMILION, atol=0.01)
    for x, y in collection(ax, "cut").get_offsets():
        assert not cells(ax)[np.searchsorted(rows, y) - 1, np.searchsorted(columns, x) - 1]


def test_neurons_of_a_small_matrix_are_named(wiring, ax):
    names = [f"neuron {k} of a long name" for k in range(19)]
    named = Wiring(8, wiring.layers, wiring.recurrent, wiring.sensory, names=names)
    named.draw(ax=ax, view="matrix")
    assert texts(ax).count("neuron 3 of a lo…"[:15] + "…") == 2
    ax.clear()
    AutoNCP(60, 4).build(8).draw(ax=ax, view="matrix")
    assert len(texts(ax)) == 4 + 3 + 2 + ("Small layers are stretched" in texts(ax))
    ax.clear()
    AutoNCP(60, 4).build(8).draw(ax=ax, view="matrix", labels=True)
    assert texts(ax).count("40") == 0 < texts(ax).count("30")


@pytest.mark.parametrize("view", LARGE_VIEWS)
@pytest.mark.parametrize("size", [(0.8, 0.6), (3, 9), (15, 4), (7, 6)])
def test_everything_stays_inside_the_axes_of_any_shape(wiring, view, size):
    figure = Figure(figsize=size)
    ax = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    wiring.draw(ax=ax, view=view, before=grown_and_cut(wiring))
    figure.draw_without_rendering()
    if min(size) < 1:  # nothing can be read there, but something is drawn
        return
    drawn = [*ax.texts, ax.get_legend(), *ax.child_axes]
    for one in drawn:
        box = one.get_window_extent() if one not in ax.child_axes else one.get_tightbbox()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y1 <= figure.bbox.y1 + 1


def test_axes_can_be_drawn_on_again(wiring):
    figure = Figure(figsize=(7, 6))
    ax = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    sizes = []
    for view in ("matrix", "matrix", "circuit", "matrix", "classes", "matrix"):
        ax.clear()
        wiring.draw(ax=ax, view=view)
        figure.draw_without_rendering()
        sizes.append(ax.bbox.width)
    assert sizes[0] == sizes[1] == sizes[3] == sizes[5] < sizes[2]


# --- the layers ------------------------------------------------------------------------------


def plain(wiring, before=None, weight=None):
    return Drawing(wiring, before, None, weight, "weight", {}, ("", ""), legend=False, title=None)


def test_arrows_bear_number_and_mean(wiring, ax):
    weights = np.linspace(0.1, 2.0, wiring.synapse_count)
    sensory = np.full(wiring.sensory_synapse_count, 0.25)
    wiring.draw(ax=ax, view="classes", weights=weights, sensory_weights=sensory)
    layer = np.array(["motor"] * 4 + ["command"] * 6 + ["inter"] * 9)
    synapses, written = wiring.recurrent, {*texts(ax)}
    for one, other in (("inter", "command"), ("command", "command"), ("command", "motor")):
        for sign in (1, -1):
            chosen = (layer[synapses.source] == one) & (layer[synapses.target] == other)
            chosen &= synapses.polarity == sign
            mean = f"{sign * weights[chosen].mean():+.2g}".replace("-", "\N{MINUS SIGN}")
            assert f"{chosen.sum()}\n{mean}" in written
    lines = collection(ax, "synapses")
    found = bundles(plain(wiring), plain(wiring).strands())
    assert len(lines.get_segments()) == len(found) == 8
    assert sum(arc.count for arc in found) == 80
    order = np.argsort([arc.count for arc in found])
    assert (np.diff(np.array(lines.get_linewidths())[order]) >= 0).all()
    heads, bars = (collection(ax, f"synapses {kind}") for kind in ("heads", "bars"))
    assert len(heads.get_paths()) == len(bars.get_segments()) == 4
    assert {patch.get_gid() for patch in ax.patches} == {"sensory", *wiring.layers}


def test_excitation_runs_above_and_inhibition_below(ax):
    wiring = FullyConnected(9, 2).build(3)
    wiring.draw(ax=ax, view="classes")
    lines = collection(ax, "synapses")
    assert len(lines.get_segments()) >= 10  # of 3 sources, 2 targets, 2 signs
    for line, color in zip(lines.get_segments(), lines.get_colors(), strict=True):
        assert (line[:, 1] > 0).all() if tuple(color[:3]) == BLUE else (line[:, 1] < 0).all()
    ends = [text.get_position() for text in ax.texts]
    assert len(ends) == len(set(ends))


def test_changes_of_layers_are_counted_and_marked(wiring, ax):
    after = grown_and_cut(wiring)
    after.draw(ax=ax, view="classes", before=wiring)
    found = bundles(plain(after, wiring), plain(after, wiring).strands())
    assert (sum(arc.cut for arc in found), sum(arc.grown for arc in found)) == (12, 12)
    assert len(collection(ax, "halo").get_segments()) == sum(arc.grown > 0 for arc in found)
    assert len(collection(ax, "cut").get_segments()) == sum(arc.cut > 0 for arc in found)
    assert legend(ax)[2:] == ["cut, net (12)", "grown, net (12)"]
    assert any("\n+" in text for text in texts(ax))


# --- degenerate circuits ---------------------------------------------------------------------

ONE = Wiring(1, {"motor": 1}, Synapses([0], [0], [1]), Synapses([0], [0], [1]))
ODD = {
    "no synapses": Wiring(3, {"motor": 2, "inter": 4}, Synapses.empty(), Synapses.empty()),
    "one neuron": ONE,
    "one neuron alone": Wiring(1, {"motor": 1}, Synapses.empty(), Synapses.empty()),
    "no command neurons": FullyConnected(30, 2).build(4),
    "many inputs": FullyConnected(3, 1).build(784),
    "many layers": Layered(
        {**{f"layer {k} of many": 3 for k in range(14)}, "motor": 1},
        {("sensory", f"layer {k} of many"): 1.0 for k in range(14)}
        | {("layer 3 of many", "motor"): 1.0},
    ).build(2),
}


@pytest.mark.parametrize("view", LARGE_VIEWS)
@pytest.mark.parametrize("case", ODD)
def test_degenerate_circuits(case, view, tmp_path):
    wiring = ODD[case]
    for suffix in ("png", "svg"):
        save_figure(draw_circuit(wiring, view=view), tmp_path / f"a.{suffix}")
    (ax,) = draw_changes(wiring, wiring, view=view).axes[:1]
    count = wiring.synapse_count + wiring.sensory_synapse_count
    assert sum(int(text.split("(")[1][:-1].replace(",", "")) for text in legend(ax)) == count
    axes = draw_circuit(wiring, view=view).axes[0]
    if view == "matrix" and case != "many inputs":  # whose neighbours share cells
        assert int(np.abs(cells(axes)).sum()) == count
    assert ("synapses heads" in gids(axes)) == (view == "classes" and count > 0)


@pytest.mark.parametrize("view", LARGE_VIEWS)
def test_excitation_alone(ax, view):
    wiring = ONE if view == "classes" else AutoNCP(40, 3).build(5)
    sets = [Synapses(s.source, s.target, np.abs(s.polarity)) for s in
            (wiring.recurrent, wiring.sensory)]  # fmt: skip
    wiring.with_synapses(*sets).draw(ax=ax, view=view)
    assert legend(ax)[1] == "inhibitory (0)"
    if view == "matrix":
        assert cells(ax).min() == 0 < cells(ax).max()
    else:
        assert "synapses bars" not in gids(ax)


@pytest.mark.parametrize("view", LARGE_VIEWS)
def test_pruned_slots_are_not_drawn(view):
    model = elegans.LTC(4, AutoNCP(110, 3, seed=1))
    before = model.wiring
    mask = torch.rand(len(model.cell.recurrent.source)) < 0.5
    model.cell.recurrent.set_mask(mask)
    assert model.synapse_count == int(mask.sum()) < before.synapse_count
    axes = draw_changes(model, before, view=view).axes[1]
    assert legend(axes)[2] == f"cut, net ({before.synapse_count - model.synapse_count:,})"
    if view == "matrix":
        sets = model.cell.recurrent, model.cell.sensory
        signed = [float((each.polarity * each.strength().double()).sum()) for each in sets]
        assert cells(axes).sum() == pytest.approx(sum(signed), abs=1e-6)
        assert scale_of(axes).get_ylabel() == "signed conductance"


@pytest.mark.parametrize(
    ("layer", "quantity"),
    [
        (elegans.LTC, "signed conductance"),
        (elegans.CTRNN, "signed weight"),
        (elegans.CfC, "signed norm of the weights (signs: wiring)"),
    ],
)
def test_what_the_colours_mean_is_that_of_the_layer(layer, quantity):
    model = layer(4, AutoNCP(20, 3))
    axes = draw_circuit(model, view="matrix").axes[0]
    assert scale_of(axes).get_ylabel() == quantity
    notes = texts(draw_circuit(model, view="classes").axes[0])
    assert any(f"mean {quantity.removeprefix('signed ')}"[:14] in note for note in notes)


# --- size ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_five_thousand_neurons_take_seconds_and_little_memory(tmp_path):
    rng = np.random.default_rng(0)
    layers = {"motor": 20, "command": 2000, "inter": 2980}
    source, target = rng.integers(20, 5000, 100_000), rng.integers(0, 5000, 100_000)
    sign = rng.choice([-1, 1], 100_000)
    wiring = Wiring(20, layers, Synapses(source, target, sign), Synapses.empty())
    target[:2000] = rng.integers(0, 5000, 2000)
    after = wiring.with_synapses(Synapses(source, target, sign), Synapses.empty())
    for name in ("matrix.png", "matrix.svg", "matrix.pdf", "classes.svg"):
        start, path = time.perf_counter(), tmp_path / name
        tracemalloc.start()
        figure = draw_changes(after, wiring, view=name.partition(".")[0])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 80e6  # bytes; a matrix of 5,000 neurons squared would be 200 MB
        save_figure(figure, path)
        assert time.perf_counter() - start < 20  # about two seconds on a quiet machine
        assert path.stat().st_size < 1_500_000


@pytest.mark.slow
def test_a_hundred_thousand_neurons_have_a_matrix():
    rng = np.random.default_rng(0)
    source, target = (rng.integers(0, 100_000, 500_000) for _ in range(2))
    synapses = Synapses(source, target, rng.choice([-1, 1], 500_000))
    wiring = Wiring(8, {"motor": 10, "inter": 99_990}, synapses, Synapses.empty())
    axes = draw_circuit(wiring).axes[0]
    assert round(cells(axes).sum()) == int(synapses.polarity.sum())
    plt.close("all")
