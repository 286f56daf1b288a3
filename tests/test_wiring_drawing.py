"""Pictures: what is drawn, in which colours and widths, and what is refused."""

import time

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from pictures import BLUE, GOLD, GREY, VERMILION, collection, gids, legend, texts

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from elegans.errors import MissingExtraError, WiringError
from elegans.wiring import (
    NCP,
    AutoNCP,
    FullyConnected,
    Layered,
    Random,
    Synapses,
    Wiring,
    draw,
)
from elegans.wiring.drawing.layout import LAYOUTS, place


@pytest.fixture
def wiring():
    return AutoNCP(units=19, output_size=4).build(input_size=8)


@pytest.fixture
def ax():
    return Figure(figsize=(6, 5)).add_axes((0, 0, 1, 1))


def colors(lines):
    return [tuple(color[:3]) for color in lines.get_colors()]


def test_every_synapse_is_drawn_once_in_the_colour_of_its_polarity(wiring, ax):
    assert draw(wiring, ax=ax) is ax
    lines = collection(ax, "synapses")
    drawn = colors(lines)
    assert len(lines.get_segments()) == wiring.synapse_count + wiring.sensory_synapse_count == 80
    excitatory = sum(int((s.polarity > 0).sum()) for s in (wiring.recurrent, wiring.sensory))
    assert drawn.count(BLUE) == excitatory == 42
    assert drawn.count(VERMILION) == 38
    assert len(collection(ax, "synapses heads").get_paths()) == 42
    assert len(collection(ax, "synapses bars").get_segments()) == 38
    assert legend(ax) == ["excitatory (42)", "inhibitory (38)"]


def test_lines_lead_from_source_to_target(wiring, ax):
    draw(wiring, ax=ax)
    place_of = {layer: collection(ax, layer).get_offsets() for layer in ("sensory", *wiring.layers)}
    position = np.concatenate([place_of[layer] for layer in wiring.layers])
    expected = [(place_of["sensory"][j], position[i]) for j, i, _ in wiring.sensory]
    expected += [(position[j], position[i]) for j, i, _ in wiring.recurrent]
    for (start, end), line in zip(expected, collection(ax, "synapses").get_segments(), strict=True):
        assert np.linalg.norm(line[0] - start) < 0.31
        assert np.linalg.norm(line[-1] - end) < 0.7


def test_layers_stand_in_columns_from_the_input_to_the_output(wiring, ax):
    draw(wiring, ax=ax)
    columns = []
    for layer, size in [("sensory", 8), ("inter", 9), ("command", 6), ("motor", 4)]:
        offsets = collection(ax, layer).get_offsets()
        assert len(offsets) == size
        assert np.ptp(offsets[:, 0]) == 0
        assert np.diff(np.sort(offsets[:, 1])) == pytest.approx(
            np.ptp(offsets[:, 1]) / (size - 1), abs=1e-6
        )
        columns.append(offsets[0, 0])
    assert columns == sorted(columns)
    assert {"sensory", "inter", "command", "motor", "8", "9", "6", "4"} <= set(texts(ax))


def test_neurons_stand_still_between_two_pictures_of_an_edit():
    before = AutoNCP(19, 4).build(8)
    cut = [(j, i) for j, i, _ in before.recurrent][:12]
    free = [(j, i) for j in range(10, 19) for i in range(4, 10) if not before.adjacency()[j, i]]
    after = before.edit(remove=cut, add=[(j, i, 1) for j, i in free[:12]])
    axes = [
        before.draw(ax=Figure().add_subplot(), later=after),
        after.draw(ax=Figure().add_subplot(), before=before),
        before.draw(ax=Figure().add_subplot()),
    ]
    places = [
        np.concatenate([c.get_offsets() for c in ax.collections if c.get_gid() in before.layers])
        for ax in axes
    ]
    assert np.array_equal(places[0], places[1])
    assert not np.array_equal(places[0], places[2])


@pytest.mark.slow
def test_no_neurons_overlap_and_all_is_inside_the_axes(ax):
    for recipe in (FullyConnected(8), Random(24, 4, 0.8), AutoNCP(300, 6), AutoNCP(8, 1)):
        wiring = recipe.build(5)
        for layout in ("layered", "shell", "circular"):
            ax.clear()
            draw(wiring, ax=ax, layout=layout)
            layers = ("sensory", *wiring.layers)
            points = np.concatenate([collection(ax, layer).get_offsets() for layer in layers])
            distance = np.linalg.norm(points[:, None] - points, axis=2)
            assert distance[np.triu_indices(len(points), 1)].min() > 0.6
            reach = np.concatenate([points, *collection(ax, "synapses").get_segments()])
            for axis, (low, high) in enumerate((ax.get_xlim(), ax.get_ylim())):
                assert low < reach[:, axis].min()
                assert reach[:, axis].max() < high


def test_the_legend_and_headers_cover_nothing(ax, wiring):
    draw(wiring, ax=ax)
    ax.figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    lines = np.concatenate(collection(ax, "synapses").get_segments())
    pixels = ax.transData.transform(lines)[:, 1]
    bottom, top = pixels.min(), pixels.max()
    assert box.y1 < bottom
    headers = [text for text in ax.texts if text.get_text() in ("sensory", "inter", "motor")]
    assert len(headers) == 3
    for text in headers:
        assert text.get_window_extent().y0 > top
        assert text.get_window_extent().x0 >= 0
        assert text.get_window_extent().x1 <= ax.bbox.x1


def test_hidden_neurons_are_ordered_so_that_synapses_cross_less():
    # A chain that is numbered backwards in its hidden layer can be drawn without a crossing.
    n = 6
    wiring = Wiring(
        n,
        {"motor": n, "inter": n},
        Synapses(range(n, 2 * n), range(n - 1, -1, -1), [1] * n),
        Synapses(range(n), range(2 * n - 1, n - 1, -1), [1] * n),
    )
    edges = np.array([(j, i + n) for j, i, _ in wiring.sensory]
                     + [(j + n, i + n) for j, i, _ in wiring.recurrent])  # fmt: skip
    height = place(wiring, "layered", edges).position[:, 1]
    assert np.allclose(height[edges[:, 0]], height[edges[:, 1]])


def test_widths_grow_with_the_magnitude_of_the_weights(wiring, ax):
    weights = np.linspace(-2.0, 0.5, wiring.synapse_count)
    draw(wiring, ax=ax, weights=weights, sensory_weights=np.full(wiring.sensory_synapse_count, 3.0))
    widths = np.array(collection(ax, "synapses").get_linewidths())
    assert len(widths) == 80
    assert (np.diff(widths) >= 0).all()  # the strongest are drawn last, on top
    assert len(np.unique(widths.round(9))) == len(np.unique(np.abs(weights).round(9))) + 1
    assert np.allclose(widths[-wiring.sensory_synapse_count :], widths[-1])
    slope = np.diff(widths[:45]) / np.diff(np.sort(np.abs(weights)))
    assert np.allclose(slope[np.isfinite(slope)], slope[0])
    assert legend(ax)[-1] == "|weight| = 3"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"weights must hold one number for each of the 45 synapses, .* shape \(1,\)"),
        (np.full(45, np.nan), "weights must be finite, got nan at position 0"),
        (["a"] * 45, "weights must be an array of numbers"),
    ],
)
def test_weights_must_fit(wiring, ax, weights, message):
    with pytest.raises(WiringError, match=message):
        draw(wiring, ax=ax, weights=weights)


def test_before_shows_what_was_cut_and_what_has_grown(wiring, ax):
    after = wiring.edit(
        remove=[(j, i) for j, i, _ in list(wiring.recurrent)[:3]],
        add=[(0, 0, 1), (1, 1, -1)],
        remove_sensory=[next(iter(wiring.sensory))[:2]],
    )
    draw(after, ax=ax, before=wiring)
    assert len(collection(ax, "synapses").get_segments()) == 76
    assert len(collection(ax, "cut").get_segments()) == 4
    assert len(collection(ax, "grown").get_segments()) == 2
    assert colors(collection(ax, "cut")) == [GREY] * 4
    assert collection(ax, "cut").get_linestyle()[0][1] is not None  # dashed
    assert collection(ax, "synapses").get_linestyle()[0][1] is None
    assert sorted(colors(collection(ax, "grown"))) == sorted([BLUE, VERMILION])
    assert colors(collection(ax, "halo")) == [GOLD]
    kept, grown = collection(ax, "synapses"), collection(ax, "grown")
    assert kept.get_colors()[0][3] < 0.5 * grown.get_colors()[0][3]
    assert max(kept.get_linewidths()) < min(grown.get_linewidths())
    excitatory = sum(p > 0 for s in (after.recurrent, after.sensory) for _, _, p in s)
    assert legend(ax) == [
        f"excitatory ({excitatory})",
        f"inhibitory ({78 - excitatory})",
        "cut, net (4)",
        "grown, net (2)",
    ]


def test_nothing_changed_and_only_the_sign_or_number_changed(wiring, ax):
    draw(wiring, ax=ax, before=wiring)
    assert legend(ax)[2:] == ["cut, net (0)", "grown, net (0)"]
    assert not {"cut", "grown"} & gids(ax)
    j, i, p = next(iter(wiring.recurrent))
    ax.clear()
    draw(wiring.edit(remove=[(j, i)], add=[(j, i, -p)]), ax=ax, before=wiring)
    assert legend(ax)[2:] == ["cut, net (1)", "grown, net (1)"]
    one = Wiring(1, {"motor": 2}, Synapses([0, 0], [1, 1], [1, 1]), Synapses.empty())
    two = one.with_synapses(Synapses([0] * 3, [1] * 3, [1, 1, 1]), Synapses.empty())
    ax.clear()
    draw(two, ax=ax, before=one)
    assert legend(ax) == ["excitatory (3)", "inhibitory (0)", "cut, net (0)", "grown, net (1)"]


def test_before_must_have_the_same_neurons(wiring, ax):
    with pytest.raises(WiringError, match="same neurons, but its layers differ"):
        draw(wiring, ax=ax, before=AutoNCP(units=20, output_size=4).build(8))
    with pytest.raises(WiringError, match="same neurons, but its sensory_names differ"):
        draw(wiring, ax=ax, before=AutoNCP(units=19, output_size=4).build(7))


def test_parallel_synapses_and_both_directions_are_told_apart(ax):
    wiring = Wiring(
        1, {"motor": 2}, Synapses([0, 0, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, -1, 1, 1]),
        Synapses.empty(),
    )  # fmt: skip
    draw(wiring, ax=ax)
    middles = [line[len(line) // 2] for line in collection(ax, "synapses").get_segments()]
    distance = np.linalg.norm(np.array(middles)[:, None] - middles, axis=2)
    assert distance[np.triu_indices(5, 1)].min() > 0.1


def test_colours_can_be_chosen(wiring, ax):
    draw(wiring, ax=ax, synapse_colors={"inhibitory": "black"}, neuron_colors={"inter": "red"})
    assert set(colors(collection(ax, "synapses"))) == {BLUE, to_rgb("black")}
    assert tuple(collection(ax, "inter").get_facecolor()[0][:3]) == to_rgb("red")
    assert tuple(collection(ax, "motor").get_facecolor()[0][:3]) == to_rgb("#332288")
    ax.clear()
    draw(wiring, ax=ax, synapse_colors="grey", neuron_colors="white")
    assert set(colors(collection(ax, "synapses"))) == {to_rgb("grey")}
    faces = {tuple(collection(ax, name).get_facecolor()[0][:3]) for name in wiring.layers}
    assert faces == {to_rgb("white")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neuron_colors": {"hidden": "red"}}, "neuron_colors has no 'hidden'; choose colours for"),
        ({"synapse_colors": {"positive": "red"}}, "synapse_colors has no 'positive'"),
        ({"synapse_colors": "reddish"}, "must be colours of matplotlib, got 'reddish'"),
        ({"layout": "tree"}, r"no layout 'tree'; the layouts are \['layered', 'shell', 'spring'"),
    ],
)
def test_options_are_checked(wiring, ax, options, message):
    with pytest.raises(WiringError, match=message):
        draw(wiring, ax=ax, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_complete_and_the_same_every_time(wiring, ax, layout):
    if layout == "kamada_kawai":
        pytest.importorskip("scipy")
    draw(wiring, ax=ax, layout=layout)
    offsets = [np.array(collection(ax, layer).get_offsets()) for layer in wiring.layers]
    segments = collection(ax, "synapses").get_segments()
    assert len(segments) == 80
    assert all(np.isfinite(segment).all() for segment in segments)
    named = {"sensory", "inter", "command", "motor"}
    assert named <= set(texts(ax) if layout == "layered" else legend(ax))
    ax.clear()
    draw(wiring, ax=ax, layout=layout)
    for layer, old in zip(wiring.layers, offsets, strict=True):
        assert np.array_equal(collection(ax, layer).get_offsets(), old)


def test_a_layout_that_needs_scipy_says_so(wiring, ax, monkeypatch):
    def without_scipy(wiring, graph):
        raise ModuleNotFoundError("No module named 'scipy'")

    monkeypatch.setitem(place.__globals__["_NETWORKX"], "kamada_kawai", without_scipy)
    with pytest.raises(MissingExtraError, match=r"27 neurons needs SciPy .* pip install scipy"):
        draw(wiring, ax=ax, layout="kamada_kawai")


def test_labels(wiring, ax):
    draw(wiring, ax=ax)
    assert texts(ax).count("0") == 4  # the first neuron of each layer
    ax.clear()
    draw(wiring, ax=ax, labels=False)
    assert texts(ax) == ["sensory", "8", "inter", "9", "command", "6", "motor", "4"]
    ax.clear()
    draw(AutoNCP(120, 4).build(8), ax=ax, view="circuit")
    assert len(texts(ax)) == 8
    names = [f"neuron {name}" for name in wiring.names]
    named = Wiring(8, wiring.layers, wiring.recurrent, wiring.sensory, names=names)
    ax.clear()
    draw(named, ax=ax, labels=True)
    assert set(names) <= set(texts(ax))
    assert "0" in texts(ax)  # of the inputs, which keep their default names


def test_long_names_at_the_sides_stay_inside_the_axes(wiring, ax):
    inputs = [f"a rather long name {k}" for k in range(8)]
    named = Wiring(8, wiring.layers, wiring.recurrent, wiring.sensory, sensory_names=inputs)
    draw(named, ax=ax, labels=True)
    ax.figure.canvas.draw()
    shown = [text for text in ax.texts if text.get_text() in inputs]
    assert len(shown) == 8
    assert all(text.get_window_extent().x0 >= 0 for text in shown)


def test_title_and_no_legend(wiring, ax):
    draw(wiring, ax=ax, title="A circuit", legend=False)
    assert ax.get_title() == "A circuit"
    assert ax.get_legend() is None


def test_given_axes_leave_pyplot_alone(wiring, ax):
    before = plt.get_fignums()
    draw(wiring, ax=ax)
    assert plt.get_fignums() == before


def test_without_axes_a_new_figure_of_fitting_size_is_made(wiring):
    plt.close("all")
    small, large = wiring.draw(), AutoNCP(64, 4).build(8).draw(title="large")
    assert len(plt.get_fignums()) == 2
    assert plt.gca() is large
    assert small.figure.get_size_inches()[1] < large.figure.get_size_inches()[1] < 10
    plt.close("all")


def test_circuits_without_synapses_and_with_other_layers(ax):
    draw(Wiring(1, {"motor": 1}, Synapses.empty(), Synapses.empty()), ax=ax)
    assert legend(ax) == ["excitatory (0)", "inhibitory (0)"]
    ax.clear()
    layers = {"a": 3, "b": 3, "c": 3, "d": 3, "e": 3, "f": 3, "motor": 1}
    density = {("sensory", name): 0.0 for name in "bcdef"}
    density |= {("sensory", "a"): 1.0, ("a", "motor"): 1.0}
    draw(Layered(layers, density).build(2), ax=ax)
    assert {"sensory", *layers} <= gids(ax)
    faces = {tuple(collection(ax, name).get_facecolor()[0]) for name in "abcde"}
    assert len(faces) == 5


@pytest.mark.parametrize("figure_size", [(0.8, 0.6), (1.5, 6), (20, 3)])
def test_axes_of_any_shape(wiring, figure_size, tmp_path):
    figure = Figure(figsize=figure_size)
    draw(wiring, ax=figure.add_subplot())
    figure.savefig(tmp_path / "wiring.png")
    assert (tmp_path / "wiring.png").stat().st_size > 500


@pytest.mark.slow
def test_a_thousand_neurons_are_drawn_in_seconds(tmp_path):
    wiring = NCP(588, 392, 20, 10, 14, 800, 20).build(input_size=32)
    count = wiring.synapse_count + wiring.sensory_synapse_count
    assert count > 9_500
    start = time.perf_counter()
    ax = draw(wiring, view="circuit")
    ax.figure.savefig(tmp_path / "wiring.png")
    plt.close(ax.figure)
    assert time.perf_counter() - start < 15  # about one second on a quiet machine
    assert len(collection(ax, "synapses").get_segments()) == count
    assert len(ax.collections) < 10


def test_too_much_is_refused_with_advice(ax, wiring):
    huge = Wiring(1000, {"motor": 10, "inter": 99_000}, Synapses.empty(), Synapses.empty())
    with pytest.raises(
        WiringError,
        match=r"100,010 neurons would show nothing .*10,000\); take view='matrix' .* Gephi",
    ):
        draw(huge, ax=ax, view="circuit")
    with pytest.raises(WiringError, match="202,500 synapses would show nothing"):
        draw(FullyConnected(400).build(106).with_synapses(*_dense(450)), ax=ax, view="circuit")
    with pytest.raises(WiringError, match=r"27 neurons would show nothing \(max_neurons=20\)"):
        draw(wiring, ax=ax, max_neurons=20)
    assert len(ax.collections) == 0


def _dense(side):
    source, target = np.divmod(np.arange(side * side), side)
    return Synapses(source % 400, target % 400, np.ones(side * side, int)), Synapses.empty()


@pytest.mark.slow
def test_dollar_signs_in_names_are_dollar_signs(tmp_path):
    wiring = FullyConnected(2, 1).build(1)
    wiring = Wiring(
        1,
        dict(wiring.layers),
        wiring.recurrent,
        wiring.sensory,
        names=("$a", "b$c$"),
        sensory_names=("d",),
    )
    drawn = draw(wiring)
    drawn.figure.savefig(tmp_path / "wiring.png")
    assert {"$a", "b$c$"} <= {text.get_text() for text in drawn.texts}
    plt.close(drawn.figure)


def test_neurons_are_as_dark_as_their_weight(wiring, ax):
    weights = np.linspace(-1, 3, 19)
    weights[4] = np.nan
    draw(wiring, ax=ax, neuron_weights=weights, quantity="need")
    for layer in wiring.layers:
        faces = collection(ax, layer).get_facecolor()[:, :3]
        for weight, face in zip(weights[wiring.layer_range(layer)], faces, strict=True):
            light, dark = np.array(to_rgb("#E6E1EE")), np.array(to_rgb("#3F007D"))
            expected = light + abs(weight) / 3 * (dark - light)
            expected = np.ones(3) if np.isnan(weight) else expected
            np.testing.assert_allclose(face, expected, atol=1 / 255)
    assert (collection(ax, "sensory").get_facecolor() == 1).all()  # not given
    assert {"neuron: need = 0", "neuron: need = 3"} <= set(legend(ax))
    nothing = Figure().add_subplot()
    draw(wiring, ax=nothing, input_weights=np.zeros(8), layout="shell")
    assert "neuron: weight = 0" in legend(nothing)
    assert not [text for text in legend(nothing) if text in wiring.layers]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"neuron_weights": np.zeros(8)}, r"neuron_weights must hold .* of the 19, got shape \(8"),
        ({"input_weights": [np.inf] * 8}, r"input_weights must hold a finite number, or NaN"),
        ({"neuron_weights": "dark"}, r"neuron_weights must be numbers, got 'dark'"),
        (
            {"neuron_weights": np.zeros(19), "view": "matrix"},
            r"weights of neurons for the view 'ma",
        ),
    ],
)
def test_weights_of_neurons_that_do_not_fit_are_refused(wiring, ax, given, message):
    with pytest.raises(WiringError, match=message):
        draw(wiring, ax=ax, **given)
