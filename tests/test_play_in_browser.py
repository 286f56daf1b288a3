"""Pages in which circuits run, in headless Chromium: they start, balance, and hear their users."""

from pathlib import Path

import numpy as np
import pytest
import torch
from chromium import NEEDED, asked_by, errors_of, open_page, start, wait

import elegans
from elegans.cli import main
from elegans.data import Sequence
from elegans.export.playing import page
from elegans.training import RunFolder
from elegans.wiring import AutoNCP, Synapses, Wiring

webdriver = pytest.importorskip("selenium.webdriver")
pytestmark = NEEDED
DEMO = Path(__file__).parent / "demo_run"
WIDTHS = (1280, 390)
KINDS = ("pole", "data", "classes", "hand", "dense", "large")


def recordings():
    draw = np.random.default_rng(0)
    walks = draw.normal(size=(2, 50, 3)).cumsum(1)
    return [
        Sequence(f"walk {k}", walk[:, :2], walk[:, 2:], np.ones(50)) for k, walk in enumerate(walks)
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the addresses of a page of each kind."""
    torch.manual_seed(0)
    folder = RunFolder.open(DEMO)
    proof = elegans.proofs.Certificate.load(DEMO / "certificate.json")
    large = Wiring(
        3, {"motor": 2, "inter": 299}, Synapses([5], [6], [1]), Synapses([0, 1], [0, 9], [1, -1])
    )
    made = {
        "pole": page(
            elegans.Policy.load(DEMO),
            drive="cartpole",
            certificate=proof,
            history=(folder.initial_wiring, folder.ledger()),
            time_unit="control step",
            seconds=0.02,
        ),
        "data": page(elegans.LTC(2, AutoNCP(12, 1, seed=0)), drive=recordings()),
        "hand": page(elegans.LTC(4, AutoNCP(20, 2, seed=0))),
        "dense": page(elegans.CfC(3, 24)),
        "large": page(elegans.LTC(3, large)),
    }
    place = tmp_path_factory.mktemp("pages")
    for name, exported in made.items():
        (content,) = exported.files.values()
        (place / f"{name}.html").write_bytes(content)
    classifier(place / "run", place / "classes.html")
    return {name: (place / f"{name}.html").as_uri() for name in KINDS}


def classifier(run, out):
    """Write the page of a circuit that was trained for a moment to tell three words apart."""
    rows = ["walk,a,b,word"]
    for k in range(24):
        rows += [f"walk {k},{(t * k) % 7},{t},{('go', 'halt', 'wait')[k % 3]}" for t in range(50)]
    run.mkdir()
    (run / "words.csv").write_text("\n".join(rows))
    words = f"train {run}/words.csv --targets word --sequence walk --out {run} --units 12 --steps 2"
    assert main([*words.split(), "--quiet"]) == 0
    assert main(["play", str(run), "--data", f"{run}/words.csv", "--out", str(out)]) == 0


@pytest.fixture(scope="module", params=WIDTHS, ids=lambda width: f"{width} px")
def browser(request, tmp_path_factory):
    driver = start(tmp_path_factory.mktemp("profile"), request.param, 844)
    yield driver
    driver.quit()


def press(browser, x, y, canvas, *moves):
    """Press the mouse at a point of a canvas, move it, and let go."""
    left, top = browser.execute_script(
        "const canvas = document.getElementById(arguments[0]);"
        "canvas.scrollIntoView({ block: 'center', behavior: 'instant' });"
        "const box = canvas.getBoundingClientRect(); return [box.left, box.top]",
        canvas,
    )

    def mouse(kind, x, y, buttons):
        browser.execute_cdp_cmd(
            "Input.dispatchMouseEvent",
            {"type": kind, "x": left + x, "y": top + y, "buttons": buttons}
            | ({} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}),
        )

    mouse("mouseMoved", x, y, 0)
    mouse("mousePressed", x, y, 1)
    for x, y in moves:
        mouse("mouseMoved", x, y, 1)
    yield
    mouse("mouseReleased", x, y, 0)


def click(browser, x, y, canvas):
    for _ in press(browser, x, y, canvas):
        pass


def node_place(browser, node):
    return browser.execute_script(
        "const node = elegans.picture.nodes[arguments[0]]; return [node.px, node.py]", node
    )


def slide(browser, label, value):
    """Move the slider with a label."""
    browser.execute_script(
        "const label = [...document.querySelectorAll('.slider label')].find((one) => "
        "one.textContent === arguments[0]), input = document.getElementById(label.htmlFor);"
        "input.value = arguments[1]; input.dispatchEvent(new Event('input'))",
        label,
        value,
    )


@pytest.mark.parametrize("name", KINDS)
def test_it_runs_without_errors_and_requests_and_fits_the_screen(browser, pages, name):
    open_page(browser, pages[name])
    wait(browser, "return elegans.timing.frames.length > 20")
    assert not errors_of(browser)
    asked = asked_by(browser)
    assert pages[name] in asked  # so that the log can be trusted
    assert all(address == pages[name] or address.startswith("data:") for address in asked)
    assert browser.execute_script("return document.documentElement.scrollWidth") == browser.width
    outside = browser.execute_script(
        "return [...document.querySelectorAll('h1, p, .card, button, canvas, .slider, dd')]"
        ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1)"
        ".map((one) => one.outerHTML)"
    )
    assert not outside
    nodes = browser.execute_script(
        "const { picture } = elegans;"
        "return picture.nodes.every(({ px, py }) => px > picture.radius && py > picture.radius &&"
        " px < picture.width - picture.radius && py < picture.height - picture.radius)"
    )
    assert nodes
    nameless = browser.execute_script(
        "return [...document.querySelectorAll('input, select, button, canvas')].filter((one) =>"
        " !(one.textContent.trim() || one.ariaLabel || (one.labels && one.labels.length)))"
        ".map((one) => one.outerHTML)"
    )
    assert not nameless
    small = browser.execute_script(
        "return [...document.querySelectorAll('p, dt, label, button, output, kbd')].filter((one) =>"
        " one.textContent.trim() && parseFloat(getComputedStyle(one).fontSize) < 11.5)"
        ".map((one) => one.outerHTML)"
    )
    assert not small


def test_it_balances_longer_than_an_episode_and_keeps_its_pace(browser, pages):
    open_page(browser, pages["pole"])
    slide(browser, "Speed", 2)
    wait(browser, "return elegans.drive.steps >= 500")
    assert browser.execute_script("return elegans.drive.episodes") == 1
    wait(browser, "return document.getElementById('state').textContent.startsWith('500 steps')")
    assert "steps balanced" in browser.find_element("id", "stats").text


def test_a_click_silences_the_motor_neuron_and_another_one_heals_it(browser, pages):
    open_page(browser, pages["pole"])
    motor = 2  # after both inputs
    click(browser, *node_place(browser, motor), "circuit")
    assert browser.execute_script("return elegans.circuit.silencedNeurons[0]") == 1
    assert browser.find_element("id", "lesions").text == "force"
    assert "nothing is proved" in browser.find_element("id", "proof-now").text
    wait(browser, "return elegans.drive.episodes > 1")  # it fell
    assert browser.execute_script("return elegans.drive.best") < 200
    click(browser, *node_place(browser, motor), "circuit")
    assert browser.execute_script("return elegans.circuit.silencedNeurons[0]") == 0
    assert browser.find_element("id", "lesions").text == ""
    wait(browser, "return document.getElementById('proof-now').textContent.includes('is the one')")
    slide(browser, "Speed", 2)
    wait(browser, "return elegans.drive.steps > 300")


def test_synapses_and_buttons_make_lesions_and_all_are_healed(browser, pages):
    open_page(browser, pages["pole"])
    # The middle of a synapse that stands apart from others.
    x, y, edge = browser.execute_script(
        "const { picture } = elegans;"
        "for (const [k, { points: [p, q, r, s] }] of picture.edges.entries()) {"
        "  const at = [0, 1].map((i) => (p[i] + 3 * q[i] + 3 * r[i] + s[i]) / 8);"
        "  if (picture.find(...at, false) === picture.edges[k]) return [...at, k];"
        "}"
    )
    click(browser, x, y, "circuit")
    name = browser.find_element("id", "lesions").text
    assert "→" in name
    assert browser.execute_script(
        "const edge = elegans.picture.edges[arguments[0]], set = elegans.circuit.sets[edge.set];"
        "return set.silenced[edge.k] === 1 && set.alive[edge.k] === 0",
        edge,
    )
    browser.execute_script("document.querySelector('details').open = true")
    button = browser.find_element("css selector", "#neurons button:nth-child(5)")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert len(browser.find_elements("css selector", "#lesions button")) == 2
    browser.find_element("id", "heal").click()
    assert not browser.find_elements("css selector", "#lesions button")
    assert button.get_attribute("aria-pressed") == "false"
    assert browser.execute_script(
        "return Object.values(elegans.circuit.sets).every((set) => set.alive.every(Boolean))"
    )


def test_pushes_pulls_and_keys(browser, pages):
    open_page(browser, pages["pole"])
    body = browser.find_element("tag name", "body")
    body.send_keys(" ")
    assert browser.find_element("id", "play").text == "Play"
    state = "return elegans.drive.cart.state"
    before = browser.execute_script(state)
    body.send_keys(webdriver.Keys.ARROW_RIGHT)
    after = browser.execute_script(state)
    assert after[3] - before[3] == pytest.approx(0.6)
    assert after[:3] == before[:3]
    width, height = browser.execute_script(
        "const stage = document.getElementById('stage');"
        "return [stage.clientWidth, stage.clientHeight]"
    )
    click(browser, width - 30, height / 2, "stage")  # right of the pole: to the left
    assert browser.execute_script(state)[3] == pytest.approx(before[3])
    for _ in press(browser, width / 2, height / 2, "stage", (width / 2 + 20, 60), (width - 40, 60)):
        assert browser.execute_script("return elegans.drive.pulled()") == 8
        assert browser.execute_script(state)[3] == pytest.approx(before[3])
    assert browser.execute_script("return elegans.drive.pulled()") == 0
    steps = browser.execute_script("return elegans.drive.steps")
    assert steps > 0
    assert browser.execute_script("return elegans.drive.steps") == steps  # it pauses
    body.send_keys("r")
    assert browser.execute_script("return elegans.drive.steps") == 0
    body.send_keys(" ")
    wait(browser, "return elegans.drive.steps > 0")


def test_noise_delay_and_the_spectrum_are_alive(browser, pages):
    open_page(browser, pages["pole"])
    wait(browser, "return document.getElementById('spectrum-text').textContent.includes('ms')")
    first = browser.execute_script("return elegans.eigenvalues(elegans.jacobian(elegans.circuit))")
    assert len(first) == 20
    slide(browser, "Sensor delay", 5)
    wait(browser, "return elegans.drive.fallen > 0 || elegans.drive.episodes > 1")
    slide(browser, "Sensor delay", 0)
    slide(browser, "Sensor noise", 0.1)
    wait(
        browser,
        "const [x] = elegans.drive.observed; return x !== elegans.drive.cart.state[0] &&"
        " elegans.drive.noise === 0.1",
    )


def test_the_history_is_a_film_that_ends_with_the_circuit(browser, pages):
    open_page(browser, pages["pole"])
    slide(browser, "Wiring", 0)
    note = "return document.querySelector('#history .note').textContent"
    assert browser.execute_script(note).startswith("Before training: a drawing")
    assert browser.execute_script("return elegans.picture.film.step") == 0
    slide(browser, "Wiring", 1)
    assert "grown (bright)" in browser.execute_script(note)
    steps = browser.execute_script("return elegans.drive.steps")
    wait(browser, f"return elegans.drive.steps > {steps}")
    slide(browser, "Wiring", 1000)
    assert browser.execute_script("return elegans.picture.film") is None
    browser.find_element("css selector", "#history button").click()
    wait(browser, "return elegans.picture.film && elegans.picture.film.step > 0")
    browser.find_element("css selector", "#history button").click()
    assert browser.execute_script("return elegans.picture.film") is None


@pytest.mark.parametrize("name", ["data", "classes"])
def test_sequences_are_played_scrubbed_and_answered_anew_after_lesions(browser, pages, name):
    open_page(browser, pages[name])
    wait(browser, "return elegans.drive.at > 3")
    browser.find_element("tag name", "body").send_keys(" ")
    slide(browser, "Time", 30)
    assert browser.execute_script("return elegans.drive.at") == 30
    # The state is that of a circuit that has run so far.
    assert browser.execute_script(
        "const { drive, circuit } = elegans;"
        "return circuit.state.every((x, i) => x === drive.states[30][i])"
    )
    answers = "return elegans.drive.answers[0]"
    before = browser.execute_script(answers)
    assert len(before) == 50
    browser.execute_script("elegans.toggleNode(2)")
    after = browser.execute_script(answers)
    assert before != after
    assert browser.execute_script("return elegans.drive.intactAnswers[0]") == before
    if name == "classes":
        shares = browser.execute_script("return elegans.drive.answers.map((line) => line[5])")
        assert len(shares) == 3
        assert sum(shares) == pytest.approx(1)
    assert browser.execute_script("return elegans.drive.at") == 30
    choice = browser.find_element("css selector", "select")
    second = browser.execute_script("return elegans.drive.sequences[1].name")
    choice.send_keys(second)
    wait(browser, f"return elegans.drive.sequence.name === '{second}' && elegans.drive.at === 0")


def test_inputs_are_moved_by_hand(browser, pages):
    open_page(browser, pages["hand"])
    wait(browser, "return elegans.drive.time > 10")
    waves = browser.execute_script("return elegans.drive.waves")
    assert waves == [True, False, False, False]
    slide(browser, "sensory_0", 2)
    assert browser.execute_script("return [elegans.drive.waves[0], elegans.drive.values[0]]") == [
        False,
        2,
    ]
    moved = browser.execute_script("return elegans.drive.time")
    wait(browser, f"return elegans.drive.time > {moved} + 2")
    origin = browser.execute_script(
        "const { origin, factor, shift } = elegans.plain.circuit;"
        "return (2 - origin[0]) * factor[0] + shift[0] - elegans.circuit.mapped[0]"
    )
    assert origin == pytest.approx(0)


def test_what_is_too_large_to_draw_is_said(browser, pages):
    open_page(browser, pages["large"])
    assert "too many to draw" in browser.find_element("id", "legend").text
    assert "up to 40 neurons" in browser.find_element("id", "spectrum-text").text
    open_page(browser, pages["dense"])
    assert "no single synapses" in browser.find_element("id", "legend").text


def test_the_page_follows_the_colours_of_the_system(browser, pages):
    open_page(browser, pages["pole"])
    color = "return getComputedStyle(document.body).backgroundColor + elegans.picture.palette.dark"
    seen = set()
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        wait(browser, f"return elegans.picture.palette.dark === {str(scheme == 'dark').lower()}")
        seen.add(browser.execute_script(color))
    assert len(seen) == 2
