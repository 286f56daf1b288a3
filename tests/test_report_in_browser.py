"""The stability report in headless Chromium: no errors, no requests, and its controls work."""

import time

import numpy as np
import pytest
import torch
from chromium import NEEDED, asked_by, errors_of, open_page, start, wait

from elegans import LTC
from elegans.reporting.stability import report
from elegans.wiring import AutoNCP, Synapses, Wiring

webdriver = pytest.importorskip("selenium.webdriver")
pytestmark = NEEDED
WIDTHS = (1280, 400)
HTML_NAME = "<b onclick=boom()>bold</b>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the addresses of the report of a certified circuit and of a tiny one."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pages")
    model = LTC(3, AutoNCP(14, 2, sparsity_level=0.8, seed=1))
    waves = np.sin(np.arange(50)[:, None] / 5 + np.arange(3))
    edits = [
        {"step": 10 * k, "synapses": "cell.recurrent", "source": 3, "cut": 0, "grown": 1}
        | {"polarity": 1 - 2 * (k % 2), "weight": 0.01, "outcome": "rewired"}
        for k in range(1, 6)
    ]
    report(model, waves, inputs=(-1, 1), ledger=edits).save(folder / "certified.html")
    wiring = Wiring(
        1,
        {"motor": 1, "inter": 1},
        Synapses([0, 1], [1, 0], [1, -1]),
        Synapses([0], [1], [1]),
        names=(HTML_NAME, "</script><script>window.boom = 1</script>"),
    )
    report(LTC(1, wiring), np.zeros((1, 1)), title=HTML_NAME).save(folder / "tiny.html")
    large = LTC(2, AutoNCP(110, 2, seed=1))
    report(large, waves[:30, :2], inputs=(-1, 1), level="float").save(folder / "large.html")
    return {path.stem: path.as_uri() for path in folder.iterdir()}


@pytest.fixture(scope="module", params=WIDTHS, ids=lambda width: f"{width} px")
def browser(request, tmp_path_factory):
    driver = start(tmp_path_factory.mktemp("profile"), request.param)
    yield driver
    driver.quit()


@pytest.mark.parametrize("name", ["certified", "tiny", "large"])
def test_it_opens_without_errors_and_requests(browser, pages, name):
    open_page(browser, pages[name])
    assert not errors_of(browser)
    asked = asked_by(browser)
    assert pages[name] in asked  # so that the log can be trusted
    assert all(address == pages[name] or address.startswith("data:") for address in asked)


@pytest.mark.parametrize("name", ["certified", "tiny", "large"])
def test_everything_is_drawn_and_readable(browser, pages, name):
    open_page(browser, pages[name])
    empty = browser.execute_script(
        "return [...document.querySelectorAll('.chart')]"
        ".filter(e => !e.querySelector('.main-svg')).map(e => e.id)"
    )
    assert not empty
    # Nothing is wider than the page: no sideways scrolling but inside of tables.
    assert browser.execute_script("return document.documentElement.scrollWidth") == browser.width
    wide = browser.execute_script(
        "return [...document.querySelectorAll('main p, main h2, .card, .chart, table.stack, dl')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"
    )
    assert not wide
    small = browser.execute_script(
        "return [...document.querySelectorAll('body p, li, td, th, dd, figcaption, text')]"
        ".filter(e => e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11)"
        ".map(e => e.textContent)"
    )
    assert not small
    columns = browser.execute_script(
        "return new Set([...document.querySelectorAll('.card')]"
        ".map(e => Math.round(e.getBoundingClientRect().left))).size"
    )
    assert columns == (1 if browser.width == 400 else 3)


def test_the_slider_moves_the_activity(browser, pages):
    open_page(browser, pages["certified"])
    state = (
        "const g = document.getElementById('chart-wiring'), n = g.data.length - 1;"
        "return [g.data[n].marker.color.join(), document.getElementById('time').value,"
        "document.getElementById('chart-activity').layout.shapes[0].x0]"
    )
    before = browser.execute_script(state)
    slider = browser.find_element("id", "moment")
    for _ in range(7):
        slider.send_keys(webdriver.Keys.ARROW_RIGHT)
    wait(browser, "return document.getElementById('time').value === 'time 8'")
    after = browser.execute_script(state)
    assert before[0] != after[0]
    assert (before[1], after[1]) == ("time 1", "time 8")
    assert (before[2], after[2]) == (1, 8)


def test_a_large_circuit_is_shown_in_pictures_beside_its_activity(browser, pages):
    open_page(browser, pages["large"])
    pictures = browser.execute_script(
        "return [...document.querySelectorAll('img.picture')].map(e => [e.complete, e.naturalWidth,"
        " e.getBoundingClientRect().right, e.alt])"
    )
    assert [alt.split()[0] for *_, alt in pictures] == ["Matrix", "Layers"]
    for complete, width, right, _ in pictures:
        assert complete
        assert width > 800
        assert right <= browser.width
    assert browser.execute_script("return document.getElementById('chart-wiring')") is None
    slider = browser.find_element("id", "moment")
    for _ in range(4):
        slider.send_keys(webdriver.Keys.ARROW_RIGHT)
    wait(browser, "return document.getElementById('time').value === 'time 5'")
    line = "return document.getElementById('chart-activity').layout.shapes[0].x0"
    assert browser.execute_script(line) == 5


def test_play_runs_and_stops(browser, pages):
    open_page(browser, pages["certified"])
    button = browser.find_element("id", "play")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button
    )
    button.click()
    assert "Pause" in button.text
    wait(browser, "return Number(document.getElementById('moment').value) > 3")
    button.click()
    wait(browser, "return document.getElementById('play').textContent.includes('Play')")
    there = browser.execute_script("return document.getElementById('moment').value")
    time.sleep(0.3)
    assert browser.execute_script("return document.getElementById('moment').value") == there
    assert int(there) < 49  # stopped by the button and not by the end


def test_a_pointer_reads_neurons_and_synapses(browser, pages):
    open_page(browser, pages["certified"])
    place = browser.find_element("id", "chart-wiring")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", place
    )
    points = browser.execute_script(
        "const g = arguments[0], box = g.getBoundingClientRect(), l = g._fullLayout, found = [];"
        "for (const t of [g.data.length - 1, g.data.length - 2]) {"
        "  const d = g.data[t];"
        "  found.push([box.left + l.xaxis._offset + l.xaxis.d2p(d.x[0]),"
        "              box.top + l.yaxis._offset + l.yaxis.d2p(d.y[0])]);"
        "} return found",
        place,
    )
    said = []
    for x, y in points:
        for shift in (-2, 0):  # a pointer that jumps onto a point has not moved over it
            browser.execute_cdp_cmd(
                "Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x + shift, "y": y}
            )
            time.sleep(0.15)
        said.append(
            wait(
                browser,
                "const h = document.querySelector('#chart-wiring .hoverlayer .hovertext');"
                "return h && h.textContent",
            )
        )
    assert "sensory_0" in said[0]
    assert "input" in said[0]
    assert "→" in said[1]
    assert "conductance" in said[1]


def test_names_are_text_and_never_markup(browser, pages):
    open_page(browser, pages["tiny"])
    assert browser.execute_script("return window.boom === undefined")
    assert browser.execute_script("return document.querySelectorAll('[onclick]').length") == 0
    assert browser.find_element("css selector", "h1").text == HTML_NAME
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#chart-boxes .ytick text')].map(e => e.textContent)"
    )
    assert any(name.startswith("<b onclick=") for name in shown)
    assert not browser.execute_script("return document.getElementById('play').matches(':enabled')")


def test_a_window_that_becomes_narrow_turns_the_graph(browser, pages):
    if browser.width == 400:
        pytest.skip("begins narrow")
    open_page(browser, pages["certified"])
    shape = (
        "const d = document.getElementById('chart-wiring').data.at(-1);"
        "const span = v => Math.max(...v) - Math.min(...v); return span(d.x) > span(d.y)"
    )
    assert browser.execute_script(shape)
    size = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wait(browser, shape.replace("return", "return !(").replace("span(d.y)", "span(d.y))"))
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | {"width": 1280})
