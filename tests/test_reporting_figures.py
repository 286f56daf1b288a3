"""Pictures say what they show: axes, units, legends, and files that are pictures."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from elegans import LTC, PruneRewire
from elegans.errors import InputError
from elegans.reporting import (
    draw_changes,
    draw_circuit,
    draw_drives,
    draw_learning,
    draw_spectrum,
    save_figure,
)
from elegans.reporting.chart import Axis, Band, Chart, Heatmap, Line, Points, Rule, spans
from elegans.reporting.figures import figure_of
from elegans.reporting.interactive import to_plotly
from elegans.tasks.cartpole import Rollouts
from elegans.wiring import AutoNCP, Synapses, Wiring

METRICS = [
    {"step": 0, "train_loss": None, "validation_loss": 1.0},
    {"step": 50, "train_loss": 0.7, "validation_loss": 0.4},
    {"step": 100, "train_loss": 0.3, "validation_loss": 0.5},
]
LEDGER = [
    {"step": 30, "grown": 2},
    {"step": 30, "grown": 4},
    {"step": 60, "grown": None},
    {"step": 60, "grown": 1},
]


def rollouts(lengths=(500, 500, 120)):
    rng = np.random.default_rng(0)
    states = [rng.normal(0, 0.02, (length, 4)).cumsum(0) * 0.1 for length in lengths]
    return Rollouts(
        returns=np.array(lengths, float),
        observations=tuple(states),
        commands=tuple(np.zeros(length) for length in lengths),
        actions=tuple(np.zeros(length, np.int64) for length in lengths),
    )


def circuit():
    return LTC(2, AutoNCP(12, 1), generator=torch.Generator().manual_seed(0))


def legend_texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def is_png(path):
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 5_000


def test_learning_curve(tmp_path):
    figure = draw_learning(METRICS, LEDGER)
    top, bottom = figure.axes
    assert top.get_ylabel() == "mean squared error"
    assert bottom.get_ylabel() == "synapses\nrewired"
    assert bottom.get_xlabel() == "optimiser step"
    assert "best: 0.4 at step 50" in legend_texts(top)
    train, validation = top.lines[:2]
    assert train.get_xydata().tolist() == [[50, 0.7], [100, 0.3]]
    assert validation.get_xydata().tolist() == [[0, 1.0], [50, 0.4], [100, 0.5]]
    assert [line.get_xdata()[0] for line in top.lines[3:]] == [30, 60]
    assert "3 in all" in [text.get_text() for text in bottom.texts]
    save_figure(figure, tmp_path / "new" / "learning.png")
    assert is_png(tmp_path / "new" / "learning.png")


@pytest.mark.parametrize("ledger", [[], [{"step": 3, "grown": None}]])
def test_learning_curve_without_rewiring_has_one_panel(ledger):
    (axes,) = draw_learning(METRICS, ledger).axes
    assert axes.get_xlabel() == "optimiser step"


def test_learning_curve_of_an_interrupted_start():
    assert draw_learning(METRICS[:1]).axes


@pytest.mark.slow
def test_changes_of_a_circuit(tmp_path):
    model = circuit()
    before = model.wiring
    rewirer = PruneRewire(
        model, torch.optim.SGD(model.parameters(), lr=0.1), threshold=0.4, every=1, weight=0.5
    )
    assert rewirer.step()
    # A synapse may grow where another one was cut; the picture shows the difference.
    grown = {*model.wiring.recurrent} - {*before.recurrent}
    grown_sensory = {*model.wiring.sensory} - {*before.sensory}
    figure = draw_changes(model, before)
    left, right = figure.axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == [
        "before training",
        "after training, with the net change",
    ]
    assert f"grown, net ({len(grown) + len(grown_sensory)})" in legend_texts(right)
    assert any("|conductance|" in text for text in legend_texts(right))
    save_figure(figure, tmp_path / "wiring.png")
    assert is_png(tmp_path / "wiring.png")


def test_a_circuit_alone(tmp_path):
    for subject in (circuit(), circuit().wiring):
        save_figure(draw_circuit(subject), tmp_path / "circuit.png")
        assert is_png(tmp_path / "circuit.png")


def test_drives(tmp_path):
    figure = draw_drives(rollouts())
    position, angle = figure.axes
    assert position.get_ylabel() == "cart position (m)"
    assert angle.get_ylabel() == "pole angle (°)"
    assert angle.get_xlabel() == "time (s)"
    assert position.get_title(loc="left") == (
        "3 episodes from fresh starts: mean return 373.3, least 120"
    )
    assert {2.4, -2.4} <= {line.get_ydata()[0] for line in position.lines}
    assert {12.0, -12.0} <= {line.get_ydata()[0] for line in angle.lines}
    crosses = [line for line in position.lines if line.get_marker() == "x"]
    assert [cross.get_xdata()[0] for cross in crosses] == [pytest.approx(119 * 0.02)]
    save_figure(figure, tmp_path / "drives.png")
    assert is_png(tmp_path / "drives.png")


def test_episodes_that_all_end_early_are_all_crossed():
    position, _ = draw_drives(rollouts((40, 40))).axes
    assert sum(line.get_marker() == "x" for line in position.lines) == 2


def test_the_limits_are_those_of_the_simulator():
    gymnasium = pytest.importorskip("gymnasium")
    from elegans.reporting import drives
    from elegans.tasks.cartpole import ENVIRONMENT

    physics = gymnasium.make(ENVIRONMENT).unwrapped
    assert physics.x_threshold == drives.POSITION_LIMIT
    assert np.degrees(physics.theta_threshold_radians) == pytest.approx(drives.ANGLE_LIMIT)
    assert physics.tau == drives.SECONDS_PER_STEP


@pytest.mark.slow
def test_spectrum(tmp_path):
    figure = draw_spectrum(circuit(), torch.randn(30, 2), step="second")
    plane, abscissa, bar = figure.axes
    assert plane.get_xlabel() == "real part (per second)"
    assert plane.get_ylabel() == "imaginary part (per second)"
    assert abscissa.get_ylabel() == "largest real part (per second)"
    assert bar.get_ylabel() == "step"
    assert len(plane.collections[0].get_offsets()) == 30 * 12
    save_figure(figure, tmp_path / "spectrum.png")
    assert is_png(tmp_path / "spectrum.png")
    with pytest.raises(InputError, match="expected one sequence"):
        draw_spectrum(circuit(), torch.randn(2, 30, 2))


@pytest.mark.slow
def test_a_spectrum_that_turns_and_grows(tmp_path):
    """Two neurons that excite and inhibit each other turn; a self-synapse lets them grow."""
    recurrent = Synapses([0, 0, 1], [0, 1, 0], [1, 1, -1])
    wiring = Wiring(1, {"motor": 2}, recurrent, Synapses([0], [0], [1]))
    model = LTC(1, wiring, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.cell.cm.fill_(20.0)  # slow enough to be seen on the steep part of the gates
        model.cell.recurrent.weight.fill_(5.0)
        model.cell.recurrent.mu.fill_(0.3)
        model.cell.recurrent.erev.mul_(4.0)
    figure = draw_spectrum(model, torch.sin(torch.arange(60.0) / 4).unsqueeze(1))
    plane, abscissa, _ = figure.axes
    assert np.abs(plane.collections[0].get_offsets()[:, 1]).max() > 0.1
    assert "positive in" in abscissa.get_title(loc="left")
    save_figure(figure, tmp_path / "spectrum.png")


def chart(*marks, x=None, y=None):
    return Chart("name", "$\\frac{", "alt", "caption", x or Axis("x"), y or Axis("y"), marks, 300)


def test_both_renderers_draw_the_same_numbers():
    x, y = np.array([1.0, 2.0, np.nan, 4.0]), np.array([0.5, -1.0, np.nan, 3.0])
    lines = (
        Line(x, y, "#123456", label="line"),
        Rule("y", 2.5, "#654321"),
        Band(1.0, 3.0, "#111111"),
    )
    points = Points(x[:2], y[:2], "#abcdef", error_y=np.array([0.1, 0.2]))
    described = chart(*lines, points)
    (axes,) = figure_of([described]).axes
    (line, dots), layout = to_plotly(described)["data"], to_plotly(described)["layout"]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), np.array(line["x"], float))
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), np.array(line["y"], float))
    assert axes.lines[0].get_color() == line["line"]["color"] == "#123456"
    assert axes.lines[1].get_ydata()[0] == layout["shapes"][0]["y0"] == 2.5
    assert (layout["shapes"][1]["x0"], layout["shapes"][1]["x1"]) == (1.0, 3.0)
    drawn = [each.get_offsets() for each in axes.collections if len(each.get_offsets()) == 2]
    np.testing.assert_array_equal(drawn[-1], np.transpose([dots["x"], dots["y"]]))
    assert dots["error_y"]["array"] == [0.1, 0.2]


def test_both_renderers_name_rows_from_top_to_bottom_and_read_no_markup():
    names = ("<b>first</b>", "$\\frac{", "third")
    lo, hi = np.zeros(3), np.ones(3)
    ticks = {0.1: "a tenth", 1.0: "one"}
    bars = spans(lo + 0.1, hi, "#123456", 8, hover="{y}\nto {x}")
    described = chart(bars, x=Axis("x", (0.1, 1.0), ticks, log=True), y=Axis(rows=names))
    figure = figure_of([described])
    (axes,) = figure.axes
    figure.canvas.draw()
    (bar,), layout = to_plotly(described)["data"], to_plotly(described)["layout"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [*names]
    assert layout["yaxis"]["ticktext"][0] == "&lt;b&gt;first&lt;/b&gt;"
    assert axes.get_ylim() == tuple(layout["yaxis"]["range"]) == (2.5, -0.5)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a tenth", "one"]
    assert layout["xaxis"]["ticktext"] == ["a tenth", "one"]
    np.testing.assert_allclose(np.log10(axes.get_xlim()), layout["xaxis"]["range"], atol=1e-12)
    assert bar["hovertemplate"] == "<b>%{y}</b><br>to %{x}<extra></extra>"


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_cells_of_a_heatmap_lie_around_their_moments(frames):
    moments = np.arange(1.0, frames + 1) ** 2
    z = np.arange(2.0 * frames).reshape(2, frames) - 1
    described = chart(Heatmap(moments, z, "potential"), y=Axis(rows=("a", "b")))
    cells = figure_of([described]).axes[0].collections[0]
    edges = cells.get_coordinates()[0, :, 0]
    assert (edges[:-1] < moments).all()
    assert (moments < edges[1:]).all()
    np.testing.assert_array_equal(cells.get_array(), z)
    (heatmap,) = to_plotly(described)["data"]
    assert heatmap["z"] == z.tolist()
    assert heatmap["x"] == moments.tolist()
    assert -heatmap["zmin"] == heatmap["zmax"] == np.abs(z).max() == cells.norm.vmax


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'figure\.bmp', expected one of the suffixes .*\.png"):
        save_figure(Figure(), tmp_path / "figure.bmp")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("units", [4, 12, 32, 64])
def test_circuits_before_and_after_stand_at_one_height_with_their_names(units):
    before = AutoNCP(units, 3 if units > 5 else 1, seed=1).build(2)
    motors = before.layers["motor"]
    names, hidden = [f"answer {k}" for k in range(motors)], before.names[motors:]
    before = Wiring(2, before.layers, before.recurrent, before.sensory, names=[*names, *hidden])
    ends = before.recurrent.source[0], before.recurrent.target[0]
    after = before.edit(remove=[ends])
    figure = draw_changes(after, before)
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    for axes in (left, right):
        told = {text.get_text() for text in axes.texts}
        assert units > 32 or {"answer 0", "0"} <= told
        assert all(text.get_fontsize() >= 4 for text in axes.texts)
