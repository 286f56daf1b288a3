"""The verifier against tampered certificates, hostile files, and the statements recomputed.

A second program of the same statements, in double precision, decides whether a tampered certificate
is still true.
"""

import contextlib
import copy
import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from exact_statements import Exact
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from random_networks import SEEDS, model_of, random_inputs, random_network
from recomputed_statements import Recomputed, holds

from elegans.errors import InputError
from elegans.proofs import verify
from elegans.proofs.certificates.certificate import Certificate
from elegans.proofs.certificates.certification import certify


@cache
def text_of(level, own, seed=0):
    """Return a certificate as text, of the first random network that has all there is to check."""
    while True:
        seed += 1
        network = random_network(seed, inputs=2, own=own, parallel=False, strength=0.8, gain=3.0)
        if min(len(network.recurrent), len(network.sensory)) < 3 or network.leak.min() == 0:
            continue
        certificate = certify(network, random_inputs(seed, network), level, advice=False)
        if not certificate:
            continue
        document = certificate.document
        coupled = max(map(len, component_lists(document))) if component_lists(document) else 0
        boxes = len(document["boxes"])
        if (
            coupled > 1
            and document["step"]
            and document["gain"]
            and (level == "exact" or boxes > 2)
        ):
            return json.dumps(document)


def component_lists(document):
    return [entry["neurons"] for entry in Certificate(document).figures.components]


def document_of(level="interval", own=False):
    return json.loads(text_of(level, own))


def sealed(document):
    """Return the document with the fingerprint that its contents have."""
    content = {name: value for name, value in document.items() if name != "digest"}
    return content | {"digest": verify.digest(content)}


def code_of(text, folder):
    """Return the exit code for a file of the given text or bytes."""
    path = folder / "c.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return verify.main([str(path)])


# --- enclosures ----------------------------------------------------------------------------------

ARGUMENTS = st.one_of(
    st.floats(-70, 70),
    st.floats(-1e-3, 1e-3),
    st.floats(-800, 800),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-700 * 256, 700 * 256).map(lambda n: n / 256),  # edges of the tables
    st.integers(-700 * 256, 700 * 256).map(lambda n: math.nextafter(n / 256, -math.inf)),
)
PRECISE = Context(prec=120, Emin=-999_999_999_999, Emax=999_999_999_999, traps=[])


def exactly(z):
    """Return 1 / (1 + exp(-z)) with a hundred digits."""
    with localcontext(PRECISE):
        closed = (-abs(Decimal(z))).exp()
        return (1 if z >= 0 else closed) / (1 + closed)


@given(z=ARGUMENTS)
@settings(max_examples=400, deadline=None)
@example(0.0)
@example(5e-324)
@example(-5e-324)
@example(math.nextafter(700, 0))
@example(math.nextafter(-700, 0))
@example(math.nextafter(-700, -701))
@example(700.0)
@example(-700.0)
@example(1e300)
@example(-1e300)
@example(44.0)
@example(-44.0)
def test_gates_are_enclosed(z):
    """From both sides, and closely: the grid is relative down to gates of 1e-304."""
    below, above, true = verify.sigmoid_below(z), verify.sigmoid_above(z), exactly(z)
    with localcontext(PRECISE):
        assert 0 <= Decimal(below) < true or below == 0
        assert true < Decimal(above) <= 1 or (above == 1 and z > 30)
        if z >= -700:
            assert Decimal(above) - Decimal(below) <= true * Decimal(2) ** -43
        else:
            assert above < 1e-303


def test_the_tables_are_those_of_the_exponential():
    with localcontext(PRECISE):
        for table, part in ((verify._WHOLE, 1), (verify._PARTS, 256)):
            for n, entry in enumerate(table):
                true = (-Decimal(n) / part).exp()
                assert abs(Decimal(entry) - true) <= Decimal(math.ulp(entry)) / 2


@given(z=st.floats(-700, 700))
@settings(max_examples=300, deadline=None)
def test_the_error_of_a_gate_is_far_below_its_allowance(z):
    """The proof allows 2**-46; what is computed errs by some units in the last place."""
    with localcontext(PRECISE):
        assert abs(Decimal(verify.sigmoid(z)) / exactly(z) - 1) <= Decimal(2) ** -50


MAGNITUDES = st.builds(lambda x, e: x * 10.0**e, st.floats(-10, 10), st.integers(-300, 99))


@given(
    b=st.floats(-5, 5) | MAGNITUDES,
    share=st.floats(1e-3, 1) | st.just(1.0) | st.floats(1e-300, 1),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)) | st.just((0.0, 1.0)) | st.just((0.5, 0.5)),
)
@settings(max_examples=400, deadline=None)
@example(b=1.0, share=1.0, ends=(0.0, 1.0))
@example(b=0.0, share=1.0, ends=(0.0, 1.0))
@example(b=5e-324, share=5e-324, ends=(0.0, 5e-324))
@example(b=1e308, share=1.0, ends=(0.0, 1.0))
@example(b=math.inf, share=1.0, ends=(0.0, 0.0))
def test_worst_gate_is_the_maximum(b, share, ends):
    """Never below the maximum, in rationals, and above it by some units in the last place."""
    least, most = sorted(ends)
    found = verify.worst(b, share, least, most)
    if math.isinf(found):
        assert b > 1e307
        return
    b, share, least, most = map(Fraction, (b, share, least, most))
    vertex = [min(max((b - share) / (2 * b), least), most)] if b > 0 else []
    maximum = max(b * q * (1 - q) - share * q for q in (least, most, *vertex))
    assert Fraction(found) >= maximum
    assert Fraction(found) - maximum <= (abs(b) + share) * Fraction(1, 2**50) + Fraction(1, 2**1070)


def test_printed_bounds_are_on_the_safe_side():
    assert verify.at_least(0.9999998999990001) == "0.999999"
    assert verify.at_most(0.9999998999990001) == "1"
    assert (verify.at_least(0.5), verify.at_most(0.5)) == ("0.5", "0.5")
    assert (verify.at_least(-1.0000001), verify.at_most(-1.0000001)) == ("-1.00001", "-1")
    assert (verify.at_least(0.0), verify.at_most(0.0)) == ("0", "0")


@given(x=st.floats(allow_nan=False, allow_infinity=False), digits=st.integers(1, 15))
@settings(max_examples=300, deadline=None)
@example(x=5e-324, digits=4)
@example(x=1.7976931348623157e308, digits=3)
def test_what_is_printed_is_a_bound(x, digits):
    """As it is read: to the nearest double."""
    assert float(verify.at_least(x, digits)) <= x <= float(verify.at_most(x, digits))


# --- certificates as they are made ---------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("level", verify.LEVELS)
def test_certificates_pass(level, own, tmp_path):
    document = document_of(level, own)
    proved = verify.verify(document)
    assert len(proved) == 3 + len(document["norms"])
    assert holds(document)
    assert code_of(json.dumps(document), tmp_path) == 0


def test_the_verifier_runs_alone(tmp_path):
    """A copy of the file in an empty folder, without site packages: nothing else is needed."""
    copied = shutil.copy(verify.__file__, tmp_path / "verify.py")
    good, bad = document_of(), document_of()
    bad["norms"][0]["rate"] *= 1.01
    texts = {0: json.dumps(good), 1: json.dumps(sealed(bad)), 2: "[" * 100_000}
    for code, text in texts.items():
        (tmp_path / "c.json").write_text(text)
        result = subprocess.run(
            [sys.executable, "-I", "-S", copied, "c.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.returncode, result.stderr) == (code, "")
        begins = {0: "proved: no trajectory leaves", 1: "not proved: rate", 2: "no certificate"}
        assert result.stdout.startswith(begins[code])
        assert ("proved: " in result.stdout.replace("not proved: ", "")) == (code == 0)


def test_output_fits_any_terminal(tmp_path):
    """A level with a name outside ASCII, where standard output takes ASCII alone."""
    document = document_of() | {"level": "\u4e2d"}
    (tmp_path / "c.json").write_text(json.dumps(document))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = subprocess.run(
        [sys.executable, "-S", verify.__file__, "c.json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (2, "")


def test_usage(capsys):
    assert verify.main([]) == 2
    assert verify.main(["a", "b"]) == 2
    assert verify.main(["--help"]) == 0
    assert verify.main(["-x"]) == 2
    assert "usage" in capsys.readouterr().out
    assert verify.main(["/nowhere/at/all.json"]) == 2


def test_a_point_that_is_only_approached_is_not_said_to_be_entered():
    """A neuron with a leak alone comes ever nearer to its potential and never gets there.

    From x = V + 1, x - V = exp(-g t / C) > 0 at any time: no trajectory from outside "ends in" a
    box whose interval is the point V.
    """
    for seed in range(200):
        network = random_network(seed, inputs=1, own=False, strength=0.5, gain=2.0)
        driven = {*network.recurrent.target, *network.sensory.target}
        if network.epsilon > 0 or len(driven) == len(network):
            continue
        certificate = certify(network, (-1, 1), advice=False)
        if certificate and len(certificate.boxes) > 1:
            break
    alone = min(set(range(len(network))) - driven)
    assert certificate.box.width[alone] == 0
    (stays, *_) = verify.verify(certificate.document)
    assert "tends to it" in stays


# --- mutations -----------------------------------------------------------------------------------


def coupled_row(document):
    """Return a neuron of the slowest component, and the number of a synapse that leads to it."""
    neurons = component_lists(document)[0]
    k = document["network"]["recurrent"]
    for number, (source, target, weight) in enumerate(
        zip(k["source"], k["target"], k["weight"], strict=True)
    ):
        if source in neurons and target in neurons and source != target and weight > 0:
            return target, number
    raise LookupError


def raise_rate(document):
    document["norms"][0]["rate"] *= 1 + 1e-5


def raise_second_rate(document):
    document["norms"][1]["rate"] *= 1 + 1e-5


def lower_weight_of_norm(document):
    document["norms"][0]["eta"][coupled_row(document)[0]] *= 0.01


def raise_weight_of_source(document):
    number = coupled_row(document)[1]
    source = document["network"]["recurrent"]["source"][number]
    document["norms"][1]["eta"][source] *= 100


def shrink_first_box(document):
    box, i = document["boxes"][0], int(np.argmax(np.subtract(*bounds(document["boxes"][0]))))
    box["hi"][i] = 0.5 * (box["lo"][i] + box["hi"][i])
    if len(document["boxes"]) > 1:
        for inner in document["boxes"][1:]:
            inner["hi"][i] = min(inner["hi"][i], box["hi"][i])
            inner["lo"][i] = min(inner["lo"][i], box["hi"][i])


def bounds(box):
    return np.array(box["hi"]), np.array(box["lo"])


def shrink_last_box(document):
    box = document["boxes"][-1]
    i = int(np.argmax(np.subtract(*bounds(box))))
    box["hi"][i] = 0.95 * box["lo"][i] + 0.05 * box["hi"][i]


def shrink_only_box(document):
    document.update(attracts=False, boxes=[document["boxes"][-1]], shares=[])
    shrink_last_box(document)


def move_inner_box(document):
    box = document["boxes"][1]
    i = int(np.argmax(np.subtract(*bounds(box))))
    width = box["hi"][i] - box["lo"][i]
    box["hi"][i] -= 0.1 * width
    box["lo"][i] -= 0.1 * width


def raise_share(document):
    document["shares"][0] = 0.5


def raise_conductance(document):
    document["network"]["recurrent"]["weight"][coupled_row(document)[1]] *= 10


def raise_gain_of_gate(document):
    document["network"]["recurrent"]["gain"][coupled_row(document)[1]] *= 20


def lower_leak(document):
    document["network"]["leak"][coupled_row(document)[0]] *= 0.1


def raise_capacitance(document):
    document["network"]["capacitance"][coupled_row(document)[0]] *= 3


def lower_kappa(document):
    document["step"]["kappa"] *= 0.99


def lengthen_step(document):
    document["step"]["shortest"] *= 0.5  # a shorter step contracts less


def lower_gains(document):
    document["gain"] = [0.99 * gain for gain in document["gain"]]


def lower_one_gain(document):
    target = document["network"]["sensory"]["target"]
    i = max(target, key=lambda i: document["gain"][i])
    document["gain"][i] *= 0.3


def raise_input_scale(document):
    document["network"]["scale"] = [10 * scale + 10 for scale in document["network"]["scale"]]


def sensory_potential(document):
    weights = document["network"]["sensory"]["weight"]
    document["network"]["sensory"]["potential"][int(np.argmax(weights))] = 100.0


def recurrent_potential(document):
    document["network"]["recurrent"]["potential"][coupled_row(document)[1]] = -100.0


MUTATIONS = [
    raise_rate,
    raise_second_rate,
    lower_weight_of_norm,
    raise_weight_of_source,
    shrink_first_box,
    shrink_last_box,
    shrink_only_box,
    raise_conductance,
    raise_gain_of_gate,
    lower_leak,
    raise_capacitance,
    lower_kappa,
    lengthen_step,
    lower_gains,
    lower_one_gain,
    raise_input_scale,
    sensory_potential,
    recurrent_potential,
]
"""Each makes the certificate false."""


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("level", ["exact", "interval"])
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_mutations_are_rejected(mutate, level, own, tmp_path):
    document = document_of(level, own)
    mutate(document)
    with pytest.raises(verify.NotProvedError, match="digest: the file was changed"):
        verify.verify(document)
    document = sealed(document)
    assert not holds(document)
    with pytest.raises(verify.NotProvedError):
        verify.verify(document)
    assert code_of(json.dumps(document), tmp_path) == 1
    with pytest.raises(InputError, match="does not hold"):
        Certificate.load(tmp_path / "c.json")


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("mutate", [move_inner_box, raise_share])
def test_entries_that_are_too_good_are_rejected(mutate, own):
    document = document_of("interval", own)
    mutate(document)
    document = sealed(document)
    assert not holds(document)
    with pytest.raises(verify.NotProvedError, match=r"entry|stay|inside"):
        verify.verify(document)


def test_wider_inputs_are_rejected():
    document = document_of("interval")
    document["inputs"] = {"lo": [-1e3] * 2, "hi": [1e3] * 2}
    document = sealed(document)
    assert not holds(document)
    with pytest.raises(verify.NotProvedError):
        verify.verify(document)


@pytest.mark.parametrize("own", [False, True])
def test_another_level_is_another_statement(own):
    document = document_of("interval", own)
    document["level"] = "exact"
    with pytest.raises(verify.MalformedError, match="level exact has one box"):
        verify.verify(sealed(document))
    document.update(boxes=document["boxes"][-1:], shares=[])
    with pytest.raises(verify.MalformedError, match="level exact has one piece"):
        verify.verify(sealed(document))
    document["pieces"] = 1
    with pytest.raises(verify.NotProvedError, match="hull"):
        verify.verify(sealed(document))
    document["boxes"] = document_of("interval", own)["boxes"][:1]
    document = sealed(document)
    assert not holds(document)
    with pytest.raises(verify.NotProvedError):
        verify.verify(document)


def test_exact_holds_for_any_inputs_and_interval_does_not():
    document = document_of("exact")
    document["inputs"] = None
    assert "whatever the inputs" in verify.verify(sealed(document))[0]
    document = document_of("interval")
    document["inputs"] = None
    with pytest.raises(verify.MalformedError, match="inputs are missing"):
        verify.verify(sealed(document))


def test_a_box_that_need_not_attract_comes_alone():
    document = document_of("interval")
    document["attracts"] = False
    with pytest.raises(verify.MalformedError, match="comes alone"):
        verify.verify(sealed(document))
    document.update(boxes=document["boxes"][-1:], shares=[])
    assert "every trajectory" not in verify.verify(sealed(document))[0]


@pytest.mark.parametrize("own", [False, True])
def test_one_piece_proves_no_more_than_many(own):
    rates = {}
    for pieces in (1, 32):
        document = document_of("interval", own)
        document["pieces"] = pieces
        low, high = 0.0, 2 * document["norms"][0]["rate"]
        for _ in range(30):
            document["norms"] = [{**document["norms"][0], "rate": 0.5 * (low + high)}]
            document.update(step=None, gain=None)
            try:
                verify.verify(sealed(document))
                low = 0.5 * (low + high)
            except verify.NotProvedError:
                high = 0.5 * (low + high)
        rates[pieces] = low
    assert rates[1] <= rates[32]
    assert rates[32] >= document_of("interval", own)["norms"][0]["rate"] * (1 - 1e-9)


def test_a_turned_step_is_rejected():
    """A self-synapse that pulls against the neuron, and a step a hundred times too long for it."""
    for seed in range(500):
        network = random_network(seed, units=1, own=True, inputs=0, parallel=False)
        document = certify(network, (0, 0), advice=False, elapsed=1e-3)
        if not document or document.document["step"] is None:
            continue
        document = document.document
        again = {**document, "step": {**document["step"], "longest": 1e3, "kappa": 1 - 1e-9}}
        found = Recomputed(again).violations()
        if found.get("turn 0", 0.0) > 0.01 and found["step 0"] < 0:
            break
    else:
        pytest.fail("no such network")
    with pytest.raises(verify.NotProvedError, match="step: not so in the row of neuron 0"):
        verify.verify(sealed(again))


@pytest.mark.parametrize("solver", verify.SOLVERS)
@pytest.mark.parametrize("own", [False, True])
def test_steps_of_every_solver(solver, own):
    """What is certified is true by another program, and not of steps a hundred times as long."""
    seen = 0
    for seed in range(60):
        network = random_network(seed, units=3, own=own, inputs=1, strength=0.6, gain=2.0)
        model = model_of(network, solver=solver, ode_unfolds=1)
        certificate = certify(model, (-1, 1), advice=False, elapsed=(0.01, 0.02))
        if not certificate or certificate.step is None:
            continue
        seen += 1
        document = certificate.document
        assert holds(document)
        longer = {**document, "step": {**document["step"], "longest": 100.0}}
        if holds(longer):
            assert solver == "semi_implicit" or not own or solver == "exponential"
        else:
            with pytest.raises(verify.NotProvedError, match="step: "):
                verify.verify(sealed(longer))
    assert seen > 10


def leaves(value, path=()):
    """Yield the paths of all numbers outside the notes."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "notes":
                yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def put(document, path, value):
    for name in path[:-1]:
        document = document[name]
    document[path[-1]] = value


def got(document, path):
    for name in path:
        document = document[name]
    return document


CHANGES = st.one_of(
    st.sampled_from([0, 1, -1, 0.0, -0.0, 1e-300, 5e-324, 1e99, 10**20, 1e101, True, None, "1"]),
    st.tuples(st.just("times"), st.sampled_from([-1, 0.5, 0.9, 0.999, 1.001, 1.1, 2, 100])),
    st.tuples(st.just("plus"), st.floats(-2, 2)),
)


@pytest.mark.slow
@given(data=st.data(), own=st.booleans(), level=st.sampled_from(["exact", "interval"]))
@settings(max_examples=300, deadline=None)
def test_single_changes_are_rejected_or_harmless(data, own, level):
    document = document_of(level, own)
    path = data.draw(st.sampled_from(list(leaves(document))))
    change = data.draw(CHANGES)
    if isinstance(change, tuple):
        kind, number = change
        before = got(document, path)
        change = before * number if kind == "times" else before + number
    put(document, path, change)
    document = sealed(document)
    try:
        verify.verify(document)
    except (verify.NotProvedError, verify.MalformedError):
        return
    with np.errstate(over="ignore"):
        worst = max(Recomputed(document).violations().items(), key=lambda item: item[1])
    assert worst[1] <= 1e-9, worst


@pytest.mark.slow
@given(seed=SEEDS, own=st.booleans(), level=st.sampled_from(["exact", "interval"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_whatever_is_proved_is_true_by_another_program(seed, own, level):
    network = random_network(seed, own=own, strength=0.8, gain=3.0)
    certificate = certify(network, random_inputs(seed, network), level, advice=False)
    if certificate:
        assert holds(certificate.document)


# --- the grid: no rounding against the claim ------------------------------------------------------


def accepted(document):
    try:
        return bool(verify.verify(sealed(document)))
    except verify.NotProvedError:
        return False


def sharpest(document, path, towards):
    """Return the document with a number moved towards another until one double more is refused."""

    def moved(value):
        changed = copy.deepcopy(document)
        put(changed, path, value)
        return changed

    good, bad = got(document, path), towards
    while True:
        middle = 0.5 * (good + bad)
        if middle in (good, bad):
            return moved(good)
        good, bad = (middle, bad) if accepted(moved(middle)) else (good, middle)


SHARPENED = {
    "rate": lambda d, i: sharpest(d, ("norms", 0, "rate"), 10.0 * d["norms"][0]["rate"]),
    "weight of a norm": lambda d, i: sharpest(d, ("norms", 1, "eta", i), 0.0),
    "factor": lambda d, i: sharpest(d, ("step", "kappa"), 0.0),
    "length": lambda d, i: sharpest(d, ("step", "shortest"), 0.0),
    "gain": lambda d, i: sharpest(d, ("gain", i), 0.0),
    "box": lambda d, i: sharpest(
        {**d, "attracts": False, "boxes": d["boxes"][-1:], "shares": []},
        ("boxes", 0, "hi", i),
        d["boxes"][-1]["lo"][i],
    ),
    "inner box": lambda d, i: sharpest(
        {**d, "boxes": d["boxes"][:2], "shares": d["shares"][:1], "norms": d["norms"][:1]}
        | {"step": None, "gain": None}
        | {"norms": [{"eta": d["norms"][0]["eta"], "rate": 1e-6}]},
        ("boxes", 1, "lo", i),
        d["boxes"][1]["hi"][i],
    ),
    "leak": lambda d, i: sharpest(d, ("network", "leak", i), 0.0),
    "conductance": lambda d, i: sharpest(d, ("network", "recurrent", "weight", 0), 1e3),
    "centre": lambda d, i: sharpest(d, ("network", "sensory", "centre", 0), 1e3),
}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("level", ["exact", "interval"])
@pytest.mark.parametrize("what", SHARPENED)
def test_the_last_double_that_is_accepted_is_true(what, level, own):
    """Whatever is rounded is rounded away from the claim: the edge is true in rationals."""
    document = document_of(level, own)
    for i in range(min(len(document["network"]["leak"]), 3)):
        try:
            edge = SHARPENED[what](document, i)
        except IndexError:  # level exact has one box
            return
        if accepted(edge):
            assert Exact(edge).failures() == []


def test_little_is_lost_to_rounding():
    """What the search allows for rounding, 1e-12 of a row, is a thousand times what is lost."""
    for own in (False, True):
        edge = SHARPENED["rate"](document_of("exact", own), 0)
        edge["norms"][0]["rate"] *= 1 + 1e-13
        edge["norms"], edge["step"], edge["gain"] = edge["norms"][:1], None, None
        assert Exact(edge).failures() == ["rate"]


@pytest.mark.slow
@given(
    seed=SEEDS,
    own=st.booleans(),
    level=st.sampled_from(["exact", "interval"]),
    reach=st.sampled_from([0, 3, 20, 60]),
    what=st.sampled_from(sorted(SHARPENED)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
def test_edges_of_circuits_of_all_magnitudes_are_true(seed, own, level, reach, what):
    """Capacitance, conductance and time, potential and gain in units of many sizes."""
    rng, network = np.random.default_rng(seed), random_network(seed, own=own, strength=0.8, gain=3)
    assume(len(network.recurrent) and len(network.sensory))
    siemens, volt, neuron = 10.0 ** rng.uniform(-reach, reach, 3)
    siemens = siemens * 10.0 ** rng.uniform(-reach / 20, reach / 20, len(network))
    network = in_units(network, siemens, volt, neuron)
    lo, hi = random_inputs(seed, network)
    certificate = certify(network, (volt * lo, volt * hi), level, advice=False, check=False)
    assume(certificate)
    document = sealed(certificate.document)
    assume(accepted(document))
    assert Exact(document).failures() == []
    try:
        edge = SHARPENED[what](document, 0)
    except (IndexError, TypeError):  # one box, no step, no gain
        return
    if accepted(edge):
        assert Exact(edge).failures() == []


def in_units(network, siemens, volt, second):
    """Return the same circuit with its conductances, potentials and times in other units."""
    changed = {
        kind: replace(
            synapses,
            weight=synapses.weight * siemens[synapses.target],
            gain=synapses.gain / volt,
            centre=synapses.centre * volt,
            potential=synapses.potential * volt,
        )
        for kind, synapses in (("recurrent", network.recurrent), ("sensory", network.sensory))
    }
    return replace(
        network,
        capacitance=network.capacitance * siemens * second,
        leak=network.leak * siemens + 1e-6 * siemens,
        leak_potential=network.leak_potential * volt,
        epsilon=0.0,
        shift=network.shift * volt,
        **changed,
    )


# --- hostile files -------------------------------------------------------------------------------

HOSTILE = {
    "empty": b"",
    "binary": bytes(range(256)),
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "not a number": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e400}',
    "a million digits": b'{"a": ' + b"1" * 10**6 + b"}",
    "a million digits after the point": b'{"a": 0.' + b"1" * 10**6 + b"}",
    "deep list": b"[" * 100_000,
    "deep list, closed": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep object": b'{"a":' * 100_000,
    "twice": b'{"a": 1, "a": 2}',
    "trailing": b"{} {}",
    "surrogate": b'{"\\ud800": 1}',
    "another format": b'{"format": "something.else", "version": 1}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_no_certificates(name, tmp_path, capsys):
    assert code_of(HOSTILE[name], tmp_path) == 2
    assert capsys.readouterr().out.startswith("no certificate: ")
    with pytest.raises(InputError, match=r"got no certificate|does not hold"):
        Certificate.load(tmp_path / "c.json")


def test_truncated_files_are_no_certificates(tmp_path):
    text = text_of("interval", True)
    for end in range(0, len(text) - 1, len(text) // 60):
        assert code_of(text[:end], tmp_path) == 2


@pytest.mark.parametrize("name", verify.FIELDS)
def test_fields_are_needed_and_no_others(name):
    document = document_of()
    del document[name]
    with pytest.raises(verify.MalformedError, match=f"the field '{name}' is missing"):
        verify.verify(document)
    document = document_of()
    document[name + "s"] = document[name]
    with pytest.raises(verify.MalformedError, match="missing or unknown"):
        verify.verify(document)


SWAPS = {
    "nobody": lambda d: d["network"].update(
        {name: [] for name in ("capacitance", "leak", "leak_potential")}
    ),
    "negative index": lambda d: put(d, ("network", "recurrent", "source", 0), -1),
    "index outside": lambda d: put(d, ("network", "recurrent", "target", 0), 99),
    "huge index": lambda d: put(d, ("network", "sensory", "source", 0), 10**19),
    "index that is no integer": lambda d: put(d, ("network", "recurrent", "source", 0), 0.0),
    "index that is a truth value": lambda d: put(d, ("network", "recurrent", "source", 0), True),
    "truth value as number": lambda d: put(d, ("norms", 0, "rate"), True),
    "truth value as version": lambda d: d.update(version=True),
    "truth value as pieces": lambda d: d.update(pieces=True),
    "number as truth value": lambda d: d.update(attracts=1),
    "more pieces than allowed": lambda d: d.update(pieces=10**9),
    "no pieces": lambda d: d.update(pieces=0),
    "no boxes": lambda d: d.update(boxes=[], shares=[]),
    "no norms": lambda d: d.update(norms=[]),
    "share of one": lambda d: d["shares"].__setitem__(0, 1.0),
    "missing share": lambda d: d["shares"].pop(),
    "inverted box": lambda d: d["boxes"][0].update(lo=d["boxes"][0]["hi"], hi=d["boxes"][0]["lo"]),
    "short box": lambda d: d["boxes"][-1]["lo"].pop(),
    "short column": lambda d: d["network"]["recurrent"]["weight"].pop(),
    "short weights": lambda d: d["norms"][0]["eta"].pop(),
    "inverted inputs": lambda d: d["inputs"].update(lo=[5.0, 5.0], hi=[0.0, 0.0]),
    "too few inputs": lambda d: d["inputs"].update(lo=[0.0], hi=[1.0]),
    "huge number": lambda d: put(d, ("network", "leak", 0), 1e101),
    "unknown level": lambda d: d.update(level="certain"),
    "level in a list": lambda d: d.update(level=["exact"]),
    "step in a list": lambda d: d.update(step=[1, 0.5]),
    "solver of another name": lambda d: put(d, ("step", "solver"), "rk4"),
    "solver in a list": lambda d: put(d, ("step", "solver"), ["euler"]),
    "more in a norm": lambda d: d["norms"][0].update(more=1),
}


@pytest.mark.parametrize("name", SWAPS)
def test_malformed_documents_are_told_apart(name):
    document = document_of()
    SWAPS[name](document)
    with pytest.raises(verify.MalformedError):
        verify.verify(sealed(document))


NOT_PROVED = {
    "weight of zero": lambda d: put(d, ("norms", 0, "eta", 0), 0.0),
    "negative weight": lambda d: put(d, ("norms", 1, "eta", 0), -1.0),
    "rate of zero": lambda d: put(d, ("norms", 0, "rate"), 0),
    "negative conductance": lambda d: put(d, ("network", "recurrent", "weight", 0), -0.1),
    "negative sensory conductance": lambda d: put(d, ("network", "sensory", "weight", 0), -0.1),
    "negative leak": lambda d: put(d, ("network", "leak", 0), -0.1),
    "no leak": lambda d: d["network"].update(leak=[0.0] * len(d["network"]["leak"]), epsilon=0),
    "negative epsilon": lambda d: put(d, ("network", "epsilon"), -1e-9),
    "no capacitance": lambda d: put(d, ("network", "capacitance", 0), 0),
    "negative capacitance": lambda d: put(d, ("network", "capacitance", 0), -1.0),
    "factor of one": lambda d: put(d, ("step", "kappa"), 1),
    "factor of zero": lambda d: put(d, ("step", "kappa"), 0),
    "step of length zero": lambda d: put(d, ("step", "shortest"), 0),
    "negative step": lambda d: put(d, ("step", "shortest"), -1.0),
    "shorter than the shortest": lambda d: put(d, ("step", "longest"), 1e-9),
    "weights of a step": lambda d: put(d, ("step", "eta", 0), 0.0),
    "gain of zero": lambda d: put(d, ("gain", 0), 0.0),
    "digest of another": lambda d: d.update(digest="sha256:0"),
}


@pytest.mark.parametrize("name", NOT_PROVED)
def test_numbers_out_of_range_prove_nothing(name):
    document = document_of()
    NOT_PROVED[name](document)
    with pytest.raises(verify.NotProvedError):
        verify.verify(document if name.startswith("digest") else sealed(document))


def test_weights_of_any_spread_are_reported(tmp_path):
    """A spread of 2e423 is no double: two neurons without synapses may have such weights."""
    document = document_of("exact")
    none = {name: [] for name in document["network"]["recurrent"]}
    document["network"] |= {
        "capacitance": [1.0, 1.0],
        "leak": [1.0, 1.0],
        "leak_potential": [0.0, 0.0],
        "recurrent": none,
        "sensory": none,
    }
    document |= {
        "boxes": [{"lo": [0.0, 0.0], "hi": [0.0, 0.0]}],
        "norms": [{"eta": [1e100, 5e-324], "rate": 0.5}],
        "step": None,
        "gain": None,
    }
    assert code_of(json.dumps(sealed(document)), tmp_path) == 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**21), 10**21)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["exact", "lo", "hi", "eta"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*verify.FIELDS, "lo", "hi", "eta", "rate", "shortest", "kappa"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def branches(value, path=()):
    """Yield the paths of everything within."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in inner:
        yield (*path, name)
        if isinstance(each, dict | list):
            yield from branches(each, (*path, name))


@pytest.mark.slow
@given(data=st.data(), level=st.sampled_from(["exact", "interval"]))
@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_part_may_be_anything(data, level, tmp_path):
    """Never an error of another kind; and if something is proved, it is so."""
    document = document_of(level)
    paths = [path for path in branches(document) if path[0] not in ("digest",)]
    short = [path for path in paths if len(path) < 4]
    path = data.draw(st.sampled_from(short) | st.sampled_from(paths))
    put(document, path, data.draw(JSON))
    try:
        document = sealed(document)
    except ValueError:  # an integer too long for JSON's own limits
        return
    code = code_of(json.dumps(document), tmp_path)
    assert code in (0, 1, 2)
    if code == 0 and path[0] != "notes":
        document["inputs"] = document["inputs"] or document_of(level)["inputs"]
        assert holds(document)


@pytest.mark.slow
@given(text=st.text(max_size=50) | st.binary(max_size=50) | JSON.map(json.dumps))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_file_gets_an_answer(text, tmp_path):
    content = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    assert code_of(content, tmp_path) == 2


@pytest.mark.slow
def test_notes_of_any_depth_get_an_answer(tmp_path):
    """What can be read may be too deep to be written again, and so to have a fingerprint."""
    text = text_of("interval", False)
    document = json.loads(text)
    document["notes"] = "NOTES"
    text = json.dumps(document)
    path = tmp_path / "c.json"
    for depth in range(850, 1000):  # Python's limit is 1000
        for opening, inner, closing in (("[", "", "]"), ('{"a":', "1", "}")):
            nested = opening * depth + inner + closing * depth
            path.write_text(text.replace('"NOTES"', nested))
            assert verify.main([str(path)]) in (1, 2)
            with pytest.raises(InputError):
                Certificate.load(path)


@pytest.mark.parametrize("level", ["exact", "interval"])
@pytest.mark.parametrize(
    "notes",
    [
        None,
        [],
        {"kappa": "low"},
        3,
        {"ceiling": 1e9, "entry_time": 0.0, "horizon": 0.1, "best_rate": 1e6, "overshoot": 1.0},
    ],
)
def test_notes_are_not_read(notes, level, tmp_path):
    """Remarks that no check covers get nowhere: figures are found anew."""
    document = document_of(level)
    expected = Certificate(document).to_dict()
    document["notes"] = notes
    (tmp_path / "c.json").write_text(json.dumps(sealed(document)))
    loaded = Certificate.load(tmp_path / "c.json")
    assert loaded.to_dict() == expected
    assert "1000000" not in repr(loaded) + loaded._repr_html_()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("level", ["exact", "interval"])
def test_figures_of_a_loaded_certificate_are_those_of_the_search(level, own):
    """Entry time, horizon, overshoot: recomputed by hand; the search's own: found again."""
    document = document_of(level, own)
    figures, network = Certificate(document).figures, Recomputed(document)
    assert figures.ceiling >= figures.best_rate
    assert (figures.entry_time > 0) == (level == "interval")
    time = 0.0
    for box, share in zip(network.boxes, document["shares"], strict=False):
        least = [
            network.decay(i)
            + sum(row["weight"] * network.gate("recurrent", row, box)[0] for row in rows)
            for i, rows in enumerate(network.rows["recurrent"])
        ]
        time += (network.network["capacitance"] / np.array(least)).max() * -math.log(share)
    assert figures.entry_time == pytest.approx(time, rel=1e-9)
    assert figures.entry_time >= time
    eta, kappa = document["norms"][0]["eta"], document["step"]["kappa"]
    assert figures.overshoot == pytest.approx(max(eta) / min(eta))
    assert figures.horizon == pytest.approx(1 / -math.log(kappa))


def test_documents_in_memory_get_an_answer():
    """What is no JSON at all, such as NaN, is malformed as well."""
    for bad in (float("nan"), {1, 2}, 10**5000, object()):
        document = document_of()
        document["network"]["leak"][0] = bad
        with pytest.raises(InputError):
            Certificate(document).verify()


def star(leaves, *, pieces=1, norms=1, own=False):
    """A certificate of a hub that all other neurons lead to, which contracts at any level."""
    units = leaves + 1
    source = list(range(1, units)) + [0] * own
    none = {name: [] for name in ("source", "target", "weight", "gain", "centre", "potential")}
    recurrent = {
        "source": source,
        "target": [0] * len(source),
        "weight": [1e-3 / leaves] * len(source),
        "gain": [1.0] * len(source),
        "centre": [0.5] * len(source),
        "potential": [1.0] * len(source),
    }
    box = {"lo": [0.0] * units, "hi": [1.0] * units}
    return sealed(
        {
            "format": verify.FORMAT,
            "version": verify.VERSION,
            "level": "interval",
            "network": {
                "capacitance": [1.0] * units,
                "leak": [1.0] * units,
                "leak_potential": [0.5] * units,
                "epsilon": 0.0,
                "recurrent": recurrent,
                "sensory": none,
                "scale": [],
                "shift": [],
            },
            "inputs": {"lo": [], "hi": []},
            "attracts": True,
            "boxes": [box],
            "shares": [],
            "pieces": pieces,
            "norms": [{"eta": [1.0] * units, "rate": 0.5}] * norms,
            "step": None,
            "gain": None,
            "notes": {},
        }
    )


BUDGET = 5.0
"""Seconds of this process in which every hostile file of these sizes is answered."""


@pytest.mark.parametrize(
    "options",
    [
        {"leaves": 1, "pieces": 1_024, "own": True},
        {"leaves": 150, "pieces": 1_024, "own": True},  # 8 kB: 11 s in rationals
        {"leaves": 600, "pieces": 1_024, "own": True},  # 42 kB: over a minute
        {"leaves": 6_400},
        {"leaves": 50, "norms": 200, "pieces": 1_024, "own": True},
        {"leaves": 50, "norms": verify.MOST_NORMS, "pieces": 1_024, "own": True},
    ],
)
def test_small_hostile_files_end_soon(options, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(star(**options)))
    start = time.process_time()
    code = verify.main([str(tmp_path / "c.json")])
    assert time.process_time() - start < BUDGET
    assert code == (0 if options.get("norms", 1) <= verify.MOST_NORMS else 2)


@pytest.mark.slow
def test_cost_is_linear_in_the_file_whatever_the_numbers():
    """Numbers of three hundred orders of magnitude cost as much as ones."""
    plain, wild = star(4_000), star(4_000)
    weights = [1e-3 / 4_000 * 10.0 ** -(k % 300) for k in range(4_000)]
    wild["network"]["recurrent"] |= {
        "weight": weights,
        "gain": [10.0 ** (k % 90) for k in range(4_000)],
        "centre": [10.0 ** -(k % 300) for k in range(4_000)],
    }
    wild["norms"][0]["eta"] = [1.0] + [10.0 ** -(k % 300) for k in range(4_000)]
    times = {}
    for name, document in (("plain", plain), ("wild", sealed(wild)), ("twice", star(8_000))):
        taken = []
        for _ in range(5):
            start = time.process_time()
            with contextlib.suppress(verify.NotProvedError):
                verify.verify(document)
            taken.append(time.process_time() - start)
        times[name] = min(taken)
    assert times["wild"] < 3 * times["plain"]
    assert times["twice"] < 4 * times["plain"]


def test_the_work_is_limited(tmp_path, capsys):
    """Exit code 2, and what was reached; more is allowed by an option."""
    path = str(tmp_path / "c.json")
    Path(path).write_text(json.dumps(star(100)))
    assert verify.main(["--work", "150", path]) == 2
    said = capsys.readouterr().out
    assert said.startswith("undecided: the limit of 150 terms was reached at stay")
    assert "--work N" in said
    assert verify.main(["--work", "350", path]) == 2
    assert "reached at rate of norms[0], neuron 0" in capsys.readouterr().out
    assert verify.main(["--work", "10000", path]) == 0
    with pytest.raises(verify.LimitError):
        verify.verify(star(100), 150)
    with pytest.raises(InputError, match=r"is not checked so soon .*pass work="):
        Certificate.load(path, work=150)
    assert Certificate.load(path, work=10_000)
    capsys.readouterr()
    for wrong in (["--work", path], ["--work", "-1", path], ["--work", "1e5", path]):
        assert verify.main(wrong) == 2
        assert capsys.readouterr().out.startswith("usage")


def test_work_is_counted_before_it_is_done():
    """A limit of 10**6 terms holds however many pieces and synapses a file claims."""
    document = star(2_000, pieces=1_024, own=True, norms=8)
    start = time.process_time()
    with pytest.raises(verify.LimitError, match=r"limit of 1,000,000 terms"):
        verify.verify(document, 1_000_000)
    assert time.process_time() - start < BUDGET


def test_large_files_are_refused(monkeypatch, tmp_path, capsys):
    assert verify.LARGEST_FILE == 64 * 2**20
    monkeypatch.setattr(verify, "LARGEST_FILE", 100)
    assert code_of(b"{" + b" " * 100, tmp_path) == 2
    assert "--size MB allows more" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"beyond what is read .*pass size=\.\.\."):
        Certificate.load(tmp_path / "c.json")
    (tmp_path / "c.json").write_text(text_of("exact", False))
    assert verify.main(["--size", "1", str(tmp_path / "c.json")]) == 0
    assert Certificate.load(tmp_path / "c.json", size=2**20)


def test_a_file_of_commas_is_not_parsed(tmp_path, monkeypatch):
    """Each value takes more memory than its characters."""
    commas = b'{"a":[' + b"0," * 400_000 + b"0]}"
    monkeypatch.setattr(verify, "LARGEST_FILE", 2**20)
    monkeypatch.setattr(verify.json, "loads", None)
    assert code_of(commas, tmp_path) == 2
    assert code_of(b"{" + b"," * 1_000_000, tmp_path) == 2


@pytest.mark.parametrize("broken", ["rounding", "flush"])
def test_other_arithmetic_proves_nothing(broken, monkeypatch):
    """A processor that rounds upwards, or that takes subnormal numbers for zero."""
    verify.require_ieee()
    if broken == "flush":
        monkeypatch.setattr(verify, "float", FlushingFloat, raising=False)
    else:
        monkeypatch.setattr(verify, "nextafter", lambda x, y: math.nextafter(x, y) + 2.0**-40)
    with pytest.raises(verify.MalformedError, match="not that of IEEE 754"):
        verify.require_ieee()


class FlushingFloat(float):
    """Gives 0 for what is below the normal numbers."""

    @classmethod
    def fromhex(cls, text):
        return 0.0 if abs(float.fromhex(text)) < 2.0**-1022 else float.fromhex(text)


def test_a_folder_is_no_certificate(tmp_path):
    assert verify.main([str(tmp_path)]) == 2


def test_copies_are_independent():
    """The checks leave the document as it was."""
    document = document_of()
    before = copy.deepcopy(document)
    verify.verify(document)
    assert document == before
    assert Path(verify.__file__).name == "verify.py"


def test_a_time_beyond_all_doubles_is_not_proved():
    empty = {name: [] for name in ("source", "target", "weight", "gain", "centre", "potential")}
    network = {
        "capacitance": [1e100],
        "leak": [1e-250],
        "leak_potential": [0.0],
        "epsilon": 0.0,
        "recurrent": empty,
        "sensory": empty,
        "scale": [],
        "shift": [],
    }
    document = {
        "format": verify.FORMAT,
        "version": verify.VERSION,
        "level": "interval",
        "network": network,
        "inputs": {"lo": [], "hi": []},
        "attracts": True,
        "boxes": [{"lo": [-1.0], "hi": [1.0]}, {"lo": [-0.5], "hi": [0.5]}],
        "shares": [0.25],
        "pieces": 1,
        "norms": [{"eta": [1.0], "rate": 1e-300}],
        "step": None,
        "gain": None,
        "notes": {},
    }
    document["digest"] = verify.digest(document)
    with pytest.raises(verify.NotProvedError, match="is no double"):
        verify.verify(document)
