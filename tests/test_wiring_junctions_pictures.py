"""Pictures of electrical synapses, of neurons in the body, and the page that lights up partners."""

import json
import re

import numpy as np
import pytest
from chromium import NEEDED, asked_by, errors_of, open_page, start, wait
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from pictures import collection, gids, legend

from elegans.errors import WiringError
from elegans.wiring import GapJunctions, Synapses, Wiring, draw, save_page
from elegans.wiring.connectome import tap_withdrawal, to_wiring
from elegans.wiring.drawing.body import body_positions, check_positions
from elegans.wiring.drawing.joints import joints_of, resistors
from elegans.wiring.drawing.layout import RADIUS, place
from elegans.wiring.drawing.strands import all_synapses

GREEN = to_rgb("#009E73")
TAP = to_wiring(tap_withdrawal(), ["ALM", "AVM", "PLM", "PVD"], ["AVA", "AVB"]).wiring
ALL = TAP.edit(add_electrical=[(0, 1, True), (3, 8, True), (8, 5, False)])


@pytest.fixture
def ax():
    return Figure(figsize=(9, 7)).add_subplot()


def rgb(drawn):
    return {tuple(color[:3]) for color in np.round(drawn.get_edgecolor(), 6)}


# --- circuits ------------------------------------------------------------------------------


def test_the_legend_counts_junctions_of_each_kind(ax):
    draw(ALL, ax=ax)
    assert legend(ax)[2:] == ["electrical (3)", "rectifying (2)"]
    assert len(collection(ax, "electrical").get_segments()) == 5
    assert len(collection(ax, "electrical heads").get_paths()) == 2
    assert rgb(collection(ax, "electrical")) == {tuple(np.round(GREEN, 6))}


def test_without_junctions_nothing_is_said_of_them(ax):
    draw(TAP.edit(remove_electrical=[row[:2] for row in TAP.electrical]), ax=ax)
    assert len(legend(ax)) == 2
    assert not [gid for gid in gids(ax) if gid and "electrical" in gid]


@pytest.mark.parametrize("layout", ["layered", "circular", "shell"])
def test_a_resistor_leads_from_disc_to_disc_with_teeth_between(layout):
    (joints,) = joints_of(ALL, None, None)
    placement = place(ALL, layout, np.concatenate([all_synapses(ALL)[0], joints.edges]))
    for (j, i), line, plain in zip(
        joints.edges,
        resistors(placement, joints, detailed=True),
        resistors(placement, joints, detailed=False),
        strict=True,
    ):
        for end, at in ((j, 0), (i, -1)):
            away = np.linalg.norm(line[at] - placement.position[end])
            assert 0.5 * RADIUS < away <= RADIUS
        turns = np.diff(line, axis=0)
        side = turns[:-1, 0] * turns[1:, 1] - turns[:-1, 1] * turns[1:, 0]
        sharp = np.abs(side) > 0.3 * np.linalg.norm(turns[1:], axis=1) * np.linalg.norm(
            turns[:-1], axis=1
        )
        assert sharp.sum() == 6 + 2  # teeth, and the corners where they begin and end
        assert len(plain) == 25


def test_two_neurons_in_one_place_have_a_resistor_of_numbers():
    (joints,) = joints_of(ALL, None, None)
    placement = place(ALL, "circular", joints.edges)
    placement.position[:] = 0.0
    assert all(np.isfinite(line).all() for line in resistors(placement, joints, detailed=True))


def test_junctions_that_went_and_came(ax):
    draw(ALL, ax=ax, before=TAP.edit(add_electrical=[(0, 5, False)]))
    assert legend(ax)[-2:] == ["cut, net (1)", "grown, net (3)"]
    assert len(collection(ax, "electrical").get_segments()) == 2
    assert len(collection(ax, "electrical cut").get_segments()) == 1
    assert len(collection(ax, "electrical grown").get_segments()) == 3
    turned = TAP.edit(remove_electrical=[next(iter(TAP.electrical))[:2]])
    one_way = turned.edit(add_electrical=[(*next(iter(TAP.electrical))[:2], True)])
    other = Figure().add_subplot()
    draw(one_way, ax=other, before=TAP)  # a junction that begins to rectify is another one
    assert legend(other)[-2:] == ["cut, net (1)", "grown, net (1)"]


def test_lines_are_as_wide_as_junctions_conduct(ax):
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    draw(ALL, ax=ax, electrical_weights=weights, weights=np.ones(ALL.synapse_count))
    width = collection(ax, "electrical").get_linewidths()
    assert list(np.argsort(width)) == [0, 1, 2, 3, 4]
    assert legend(ax)[-1] == "|weight| = 5"
    with pytest.raises(WiringError, match="electrical_weights must hold one number for each of"):
        draw(ALL, electrical_weights=[1.0])


def test_the_color_of_junctions_can_be_chosen(ax):
    draw(ALL, ax=ax, synapse_colors={"electrical": "black"})
    assert rgb(collection(ax, "electrical")) == {(0.0, 0.0, 0.0)}


# --- matrices and layers -------------------------------------------------------------------


def test_a_matrix_marks_every_way_of_current(ax):
    draw(ALL, ax=ax, view="matrix")
    assert legend(ax)[2:] == ["electrical (3)", "rectifying (2)"]
    marks = collection(ax, "electrical").get_offsets()
    assert len(marks) == ALL.electrical_adjacency().sum() == 3 * 2 + 2
    # Columns are inputs and neurons layer by layer, rows the neurons alone, both from the input.
    column = {round(float(x), 6) for x, _ in marks}
    row = {round(float(y), 6) for _, y in marks}
    assert len(column) == (ALL.electrical_adjacency().sum(axis=1) > 0).sum()
    assert len(row) == (ALL.electrical_adjacency().sum(axis=0) > 0).sum()


def test_a_matrix_of_shared_rows_marks_each_cell_once(ax):
    size = 900
    wiring = Wiring(
        1,
        {"motor": size},
        Synapses.empty(),
        Synapses([0], [0], [1]),
        electrical=GapJunctions(np.arange(4), np.arange(4) + 500),
    )
    draw(wiring, ax=ax, view="matrix")
    assert legend(ax)[-1] == "electrical (4)"
    assert len(collection(ax, "electrical").get_offsets()) < 8


def test_layers_tell_their_junctions(ax):
    draw(ALL, ax=ax, view="classes")
    told = " ".join(text.get_text().replace("\n", " ") for text in ax.texts)
    assert "gap junctions:" in told
    between = dict(re.findall(r"(\w+ to \w+) (\d+)", told))
    assert between == {"inter to inter": "4", "motor to motor": "1"}


# --- the body ------------------------------------------------------------------------------


@st.composite
def bodies(draw_from):
    units = draw_from(st.integers(1, 60))
    wide = draw_from(st.integers(1, 3))
    numbers = st.floats(-1, 1) | st.sampled_from([0.0, np.nan])
    places = np.array(
        draw_from(st.lists(numbers, min_size=units * wide, max_size=units * wide))
    ).reshape(units, wide)
    places[0] = 0.5
    sides = draw_from(
        st.none() | st.lists(st.sampled_from(["left", "right", ""]), min_size=units, max_size=units)
    )
    return places, sides


@settings(max_examples=40, deadline=None)
@given(bodies())
def test_neurons_in_a_body_never_cover_each_other(body):
    places, sides = body
    wiring = Wiring(2, {"motor": len(places)}, Synapses.empty(), Synapses([0, 1], [0, 0], [1, 1]))
    placed = body_positions(wiring, *check_positions(wiring, places, sides)).position
    apart = np.linalg.norm(placed[:, None] - placed, axis=2)[~np.eye(len(placed), dtype=bool)]
    assert apart.min(initial=9.0) > 2 * RADIUS
    known = ~np.isnan(places).any(axis=1)
    extent = np.ptp(places[known], axis=0)
    along = places[known, np.argsort(-extent, kind="stable")[0]]
    x = placed[2:][known, 0]
    before = along[:, None] < along - 1e-9
    assert (x[:, None] <= x + 1e-9)[before].all()  # the order along the body is kept


def test_sides_are_above_and_below_the_middle():
    wiring = Wiring(1, {"motor": 5}, Synapses.empty(), Synapses([0], [0], [1]))
    places = check_positions(wiring, [0, 1, 1, 2, 2], ["", "left", "right", "left", "right"])
    y = body_positions(wiring, *places).position[1:, 1]
    assert y[1] > y[0] > y[2]
    assert y[3] > y[0] > y[4]


@pytest.fixture(scope="module")
def large():
    """A circuit of the size of the worm's, crowded in the head."""
    rng = np.random.default_rng(0)
    pairs = {tuple(sorted(rng.choice(302, 2, replace=False).tolist())) for _ in range(1000)}
    wiring = Wiring(
        3,
        {"motor": 120, "inter": 182},
        Synapses.from_rows({(int(j), int(i), 1) for j, i in rng.integers(302, size=(3000, 2))}),
        Synapses([0, 1, 2], [5, 6, 7], [1, 1, 1]),
        electrical=GapJunctions.from_rows((j, i, False) for j, i in pairs),
        names=[f"N{k:03}L" for k in range(302)],
    )
    where = np.where(np.arange(302) % 3 > 0, rng.beta(2, 20, 302), rng.random(302))
    return wiring, where, [("left", "right", "")[k % 3] for k in range(302)]


@pytest.mark.parametrize("in_body", [True, False])
def test_names_of_302_neurons_cover_nothing(large, in_body):
    """Half black names are painted alone: where two overlap, a pixel would be darker than one."""
    wiring, where, sides = large
    options = {"positions": where, "sides": sides} if in_body else {"view": "circuit"}
    drawn = draw(wiring, labels=True, **options)
    names = [text for text in drawn.texts if text.get_gid() == "name"]
    assert len(names) >= 0.95 * 305

    def darkness():
        for each in drawn.get_children():
            each.set_visible(each in names)
        for text in names:
            text.set(path_effects=[], alpha=0.5, color="black", antialiased=False)
        figure = drawn.figure
        figure.set_dpi(200)
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())[..., 0]

    shades = darkness()
    assert 120 < shades.min() < 135
    assert (shades < 135).sum() > 20_000
    x, y = names[0].get_position()
    names[1].set_position((x + 0.05, y))  # so that the measure can be trusted
    assert darkness().min() < 80
    drawn.figure.clear()


def test_a_body_is_drawn_behind_its_neurons(large):
    wiring, where, sides = large
    drawn = draw(wiring, positions=where, sides=sides)
    assert "body" in gids(drawn)
    assert {"sensory", "inter", "motor"} <= set(legend(drawn))
    drawn.figure.clear()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": [1.0]}, "for each of the 9 neurons in the order of wiring.names, got shape"),
        ({"positions": np.zeros((9, 4))}, r"1 to 3 coordinates .* shape \(9, 4\)"),
        ({"positions": "abc"}, "positions must be numbers"),
        ({"positions": np.full(9, np.nan)}, "with a known one at least"),
        ({"positions": np.full(9, np.inf)}, "positions must be finite"),
        ({"positions": np.zeros(9), "sides": ["left"]}, "'left', 'right' or '' for each of the 9"),
        ({"positions": np.zeros(9), "sides": ["up"] * 9}, "'left', 'right' or '' for each"),
        ({"sides": ["left"] * 9}, "got sides without positions"),
        ({"positions": np.zeros(9), "layout": "shell"}, "layout='shell' and positions"),
        ({"positions": np.zeros(9), "view": "matrix"}, "for the view 'matrix'"),
    ],
)
def test_positions_that_do_not_fit(options, message, tmp_path):
    with pytest.raises(WiringError, match=message):
        draw(ALL, **options)
    if "view" not in options:
        with pytest.raises(WiringError, match=message):
            save_page(ALL, tmp_path / "page.html", **options)


# --- the page ------------------------------------------------------------------------------


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])


def test_a_page_is_one_file_with_everything(tmp_path):
    path = tmp_path / "circuit.html"
    save_page(ALL, path, electrical_weights=[1, 2, 3, 4, 5.00004], title="A & B")
    told = data_of(path)
    assert told["names"] == [*ALL.sensory_names, *ALL.names]
    synapses = zip(told["source"], told["target"], told["polarity"], strict=True)
    expected = [(j, i + 4, p) for j, i, p in ALL.sensory]
    expected += [(j + 4, i + 4, p) for j, i, p in ALL.recurrent]
    assert list(synapses) == expected
    assert told["ends"] == [[j + 4, i + 4] for j, i, _ in ALL.electrical]
    assert told["rectifying"] == [one_way for *_, one_way in ALL.electrical]
    assert told["junctionWeight"] == [1, 2, 3, 4, 5]
    assert told["weight"] == [None] * len(expected)
    text = path.read_text(encoding="utf-8")
    assert "<title>A &amp; B</title>" in text
    assert not re.search(r'(src|href)="', text)
    assert "http" not in text.replace("http://www.w3.org/", "")


def test_names_cannot_end_the_script(tmp_path):
    named = Wiring(
        1,
        {"motor": 1},
        Synapses.empty(),
        Synapses([0], [0], [1]),
        names=["</script><script>window.boom = 1</script>"],
        sensory_names=["[[SCRIPT]]"],
    )
    save_page(named, tmp_path / "page.html")
    assert data_of(tmp_path / "page.html")["names"] == [*named.sensory_names, *named.names]


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("page.txt", {}, "a page must be a file such as circuit.html, got"),
        ("missing/page.html", {}, "cannot write a page to .*No such file"),
        ("page.html", {"title": 3}, "title must be a text, got 3"),
        ("page.html", {"quantity": None}, "quantity must be a text, got None"),
        ("page.html", {"weights": [1]}, "weights must hold one number for each of the 24"),
        ("page.html", {"layout": "star"}, "no layout 'star'"),
    ],
)
def test_pages_that_cannot_be_written(path, options, message, tmp_path):
    with pytest.raises(WiringError, match=message):
        save_page(ALL, tmp_path / path, **options)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start(tmp_path_factory.mktemp("profile"), 1280)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "circuit.html"
    save_page(ALL, path)
    return path.as_uri()


class TestInBrowser:
    pytestmark = NEEDED

    def lit(self, browser):
        return {
            role: set(
                browser.execute_script(
                    "return [...document.querySelectorAll('.neuron.' + arguments[0])]"
                    ".map(e => e.getAttribute('aria-label'))",
                    role,
                )
            )
            for role in ("in", "out", "joined", "chosen")
        }

    def test_it_asks_for_nothing_and_has_no_errors(self, browser, page):
        open_page(browser, page)
        assert not errors_of(browser)
        asked = asked_by(browser)
        assert page in asked
        assert all(address == page or address.startswith("data:") for address in asked)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide == browser.width

    @pytest.mark.parametrize("name", ["PVC", "AVA", "in_PLM", "DVA"])
    def test_a_neuron_that_is_clicked_lights_up_its_partners(self, browser, page, name):
        open_page(browser, page)
        browser.execute_script(
            "[...document.querySelectorAll('.neuron')].find(e => "
            "e.getAttribute('aria-label') === arguments[0])"
            ".dispatchEvent(new MouseEvent('click', {bubbles: true}))",
            name,
        )
        wait(browser, "return document.querySelector('aside h2')")
        graph = ALL.to_networkx()
        edges = [*graph.edges(data=True)]
        chemical = [(j, i) for j, i, data in edges if data["kind"] == "chemical"]
        joined = {
            (i if j == name else j)
            for j, i, data in edges
            if data["kind"] == "electrical" and name in (j, i)
        }
        assert self.lit(browser) == {
            "in": {j for j, i in chemical if i == name},
            "out": {i for j, i in chemical if j == name},
            "joined": joined,
            "chosen": {name},
        }
        assert (
            browser.execute_script("return document.querySelector('aside h2').textContent") == name
        )
        browser.execute_script(
            "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))"
        )
        assert not any(self.lit(browser).values())
