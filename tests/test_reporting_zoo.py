"""Every sentence of the report, held against circuits whose behaviour is known.

The truth comes from a second program (`zoo`), in NumPy, that shares no code with the library: it
follows the steps and the equation. A sentence that no claim below covers fails the test.
"""

import copy
import html
import json
import re
from functools import cache

import numpy as np
import pytest
import torch
import zoo

from elegans.proofs import certify
from elegans.reporting.stability import report
from elegans.reporting.stability.facts import facts
from elegans.reporting.stability.verdicts import warnings
from elegans.reporting.wording import number

QUICK = ("bistable", "oscillation", "Euler, much too long", "mixed memory")
SPECIMENS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.SPECIMENS
]


class Truth:
    """What the second program finds out about a specimen."""

    def __init__(self, name):
        self.specimen = zoo.SPECIMENS[name]
        self.model = self.specimen.make()
        self.made = report(self.model, self.specimen.data, **self.specimen.options)
        self.content = self.made.content
        self.currents = None if self.model.memory is not None else self._currents()
        self.runs = [] if self.currents is None else [self._run(seed) for seed in range(24)]

    def _currents(self):
        return zoo.currents(self.model, self.specimen.data.mean(axis=0))

    @property
    def h(self):
        return self.specimen.elapsed / self.model.cell.ode_unfolds

    def _run(self, seed):
        """Return the last 400 unfolds from anywhere in [-1, 1]."""
        start = np.random.default_rng(100 + seed).uniform(-1.0, 1.0, self.model.state_size)
        with np.errstate(all="ignore"):
            solver = self.model.cell.solver.name
            return zoo.unfolded(self.currents, start, self.h, 1600, solver)[-400:]

    @property
    def rests(self):
        """States that runs end in, told apart to 1e-3."""
        still = [run[-1] for run in self.runs if np.ptp(run, axis=0).max() < 1e-6]
        return {tuple(np.round(state / 5e-3).astype(int)) for state in still}

    @property
    def turning(self):
        return [run for run in self.runs if 1e-6 <= np.ptp(run, axis=0).max() < 1e3]

    @property
    def lost(self):
        """Runs that left every bound."""
        return sum(not np.abs(run).max() < 1e3 for run in self.runs)

    @property
    def period(self):
        return zoo.period_between_crossings(self.turning[0], self.h)

    def contraction(self):
        """Return the largest share of a difference that is left by a step, in the weighted norm.

        Both states are from the certified box, under inputs of the data.
        """
        boxes, subject = self.content.boxes, self.content.subject
        between = np.array(subject.input_lo), np.array(subject.input_hi)
        found = certify(self.model, between, elapsed=self.specimen.elapsed, advice=False)
        if not found or found.step is None:
            return np.inf
        eta, solver = found.step.eta, self.model.cell.solver.name
        worst, generator = 0.0, np.random.default_rng(0)
        for u in self.specimen.data[::20]:
            at = zoo.currents(self.model, u)
            for _ in range(10):
                begin = generator.uniform(boxes.box_lo, boxes.box_hi, (2, len(eta)))
                unfolds = self.model.cell.ode_unfolds
                ends = [zoo.unfolded(at, x, self.h, unfolds, solver)[-1] for x in begin]
                before, after = (np.abs((a - b) / eta).max() for a, b in (begin, ends))
                worst = max(worst, after / before if before else 0.0)
        return worst

    def slowest_rate(self):
        """Return minus the largest real part of the equation's modes where it rests."""
        derivative = zoo.derivative_of(self.currents)
        x = zoo.followed(derivative, np.zeros(self.model.state_size), 60.0)[-1]
        steps = 1e-6 * np.eye(len(x))
        jacobian = np.array([(derivative(x + d) - derivative(x - d)) / 2e-6 for d in steps]).T
        return -np.linalg.eigvals(jacobian).real.max()

    def changed_rate(self, share):
        """Return the slowest rate found of circuits whose parameters are changed by a share."""
        slowest, generator = np.inf, np.random.default_rng(0)
        for _ in range(12):
            other = copy.deepcopy(self)
            with torch.no_grad():
                for name, values in other.model.cell.named_parameters():
                    if "mapping" not in name:
                        sign = generator.choice([-1.0, 1.0], tuple(values.shape))
                        values.mul_(1 + share * torch.as_tensor(sign))
            other.currents = other._currents()
            slowest = min(slowest, other.slowest_rate())
        return slowest

    def rounding(self):
        """Return how far the steps that run are from those of double precision, in the box."""
        boxes, generator = self.content.boxes, np.random.default_rng(0)
        start = generator.uniform(boxes.box_lo, boxes.box_hi, (16, self.model.state_size))
        kind, inputs = self.model.cell.dtype, torch.as_tensor(self.specimen.data)[None]
        inputs = inputs.to(kind).expand(16, -1, -1)
        start = torch.as_tensor(start).to(kind)
        with torch.no_grad():
            after = self.model(inputs, start)[1].double().numpy()
        exact = start.double().numpy().copy()
        for u in inputs[0].double().numpy():
            at, unfolds = zoo.currents(self.model, u), self.model.cell.ode_unfolds
            ends = [zoo.unfolded(at, x, self.h, unfolds, "semi_implicit")[-1] for x in exact]
            exact = np.stack(ends)
        return np.abs(after - exact).max()


truth_of = cache(Truth)


def figure(text):
    """Return a number as it is printed: −1,234.5 or 2·10⁻⁷."""
    plain = text.replace("\N{MINUS SIGN}", "-").replace(",", "")
    powers = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    if "·10" in plain:
        mantissa, power = plain.split("·10")
        return float(mantissa) * 10.0 ** int(power.translate(powers))
    return float(plain)


def near(printed, value, rel=0.01):
    return abs(figure(printed) - value) <= rel * abs(value)


def of_period(truth, printed):
    return bool(truth.turning) and near(printed, truth.period)


def alone(truth):
    return len(truth.rests) == 1 and not truth.turning and not truth.lost


def equilibria(truth, count, attracting):
    found = truth.content.equilibria
    derivative = zoo.derivative_of(truth.currents)
    still = all(np.abs(derivative(rest.state)).max() < 1e-8 for rest in found.shown)
    stable = sum(rest.linearised == "attracting" for rest in found.shown)
    return still and int(count) == found.count and int(attracting) == stable


def apart(truth, neuron):
    """Return the largest distance between the ends of runs at a neuron."""
    ends = [run[-1][neuron] for run in truth.runs]
    return max(ends) - min(ends)


def fastest_growth(truth):
    """Return the largest real part of the equation's modes at the equilibria of the report."""
    derivative = zoo.derivative_of(truth.currents)
    growth = []
    for rest in truth.content.equilibria.shown:
        steps = 1e-6 * np.eye(len(rest.state))
        columns = [(derivative(rest.state + d) - derivative(rest.state - d)) / 2e-6 for d in steps]
        growth.append(np.linalg.eigvals(np.array(columns).T).real.max())
    return max(growth) + 1e-6


def semi_implicit(truth):
    return truth.model.cell.solver.name == "semi_implicit"


def proved(truth):
    """Whether the steps that run are those that bounds are proved of."""
    return semi_implicit(truth) or truth.content.contraction.kappa is not None


def always(truth, *_):
    return True


NUMBER = "[\N{MINUS SIGN}\\d][\\d,.·⁻⁰¹²³⁴⁵⁶⁷⁸⁹]*?"
"""Digits, lazily, so that the full stop of a sentence is not theirs."""

CLAIMS = [
    # --- the circuit and its certificate ---
    (r"A liquid circuit of (\d+) neurons? and (\d+) synapses",
     lambda t, n, m: (int(n), int(m)) == (t.model.state_size,
                      t.model.synapse_count + t.model.sensory_synapse_count)),
    (rf"Its differential equation is certified: .* at least ({NUMBER}) per time unit once .*",
     lambda t, rate: t.specimen.certified and figure(rate) <= 1.001 * t.slowest_rate()),
    (rf"Of a difference, a step of ({NUMBER}) time units? leaves at most ({NUMBER}) %",
     lambda t, length, share: proved(t) and near(length, t.specimen.elapsed)
     and t.contraction() <= 1.005 * figure(share) / 100),
    (rf"With every parameter changed by up to ({NUMBER}) %, the rate stays at least ({NUMBER})",
     lambda t, share, rate: t.specimen.certified and figure(share) > 0
     and t.changed_rate(figure(share) / 100) >= figure(rate) > 0),
    (rf"From states in the box, rounding never moves a potential by more than ({NUMBER})",
     lambda t, most: semi_implicit(t) and t.rounding() <= 2 * figure(most) < 1e-3),
    (rf"Nothing is proved of the contraction of a step of ({NUMBER}) time units?",
     lambda t, length: semi_implicit(t) and t.content.contraction.kappa is None
     and near(length, t.specimen.elapsed)),
    (r"Nothing is proved of the steps(?: that run, those of '(\w+)')?",
     lambda t, name=None: not proved(t) and name in (None, t.model.cell.solver.name)),
    (r"No certificate of contraction was found", lambda t: not t.specimen.certified),
    (r"A state was found in the box where small differences grow, so no norm certifies this box",
     lambda t: t.content.ceiling.abscissa > 0),
    (r"(?:That is not a statement that it is unstable|Not certified does not mean unstable)",
     lambda t: not t.specimen.certified and (len(t.rests) < 2 or t.specimen.odd)),
    (r"There is (?:none|no certificate|no proof) on this range: (\d+) equilibria, (\d+) of them "
     r"attracting, were found under the mean input",
     lambda t, count, attracting: not t.specimen.certified and int(count) > 1
     and equilibria(t, count, attracting)),
    (rf"There is (?:none|no certificate|no proof) on this range: under the mean input its steps "
     rf"oscillate with a period of ({NUMBER}) time units",
     lambda t, period: not t.specimen.certified and of_period(t, period)),
    (rf"(?:The proof|There is (?:none|no certificate|no proof) on this range): two boxes "
     rf"that no trajectory leaves are at least ({NUMBER}) apart at neuron '(.*)'",
     lambda t, gap, name: 0 < figure(gap) <= apart(t, t.model.wiring.names.index(name))),
    (rf"(?:The proof|There is (?:none|no certificate|no proof) on this range): an "
     rf"equilibrium has a mode that grows at a rate of at least ({NUMBER}) per time unit",
     lambda t, rate: 0 < figure(rate) <= fastest_growth(t)),
    (r"Whether it forgets its initial state was not examined for a proof",
     lambda t: t.model.memory is not None),
    (rf"The steps that ran left the box, up to a potential of ({NUMBER})",
     lambda t, worst: t.specimen.diverges and t.lost == len(t.runs)),
    (rf"The steps that ran left the finite numbers at time ({NUMBER})",
     lambda t, time: t.specimen.diverges and t.lost == len(t.runs)),
    (r"What is said of the equation is proved \(interval arithmetic\)",
     lambda t: t.specimen.certified),
    (r"Certified to contract", lambda t: t.specimen.certified
     and t.content.contraction.kappa is not None and alone(t)),
    (r"Certified to contract, but of the differential equation only",
     lambda t: t.specimen.certified and not t.specimen.diverges
     and t.content.contraction.kappa is None),
    (r"Not certified",
     lambda t: not t.specimen.certified and (len(t.rests) < 2 or t.specimen.odd)),
    (r"No certificate can exist", lambda t: len(t.rests) > 1 or t.turning),
    (rf"Differences between two trajectories of the differential equation under the same input "
     rf"halve at least every ({NUMBER}) time units, .*",
     lambda t, time: t.specimen.certified
     and np.log(2) / figure(time) <= 1.01 * t.slowest_rate()),
    (r"The method gives no positive rate: .*", lambda t: not t.specimen.certified),
    # --- bounds ---
    (r"Bounded, for certain", lambda t: proved(t) and not t.lost),
    (r"Bounded, for certain, (?:but|and) of the differential equation only",
     lambda t: not semi_implicit(t)),
    (r"Bounded, but loosely(?:, and of the differential equation only)?", always),
    (r"Once every potential is in its interval of the box, it is kept there by the differential "
     r"equation( and by the steps that run)? for all inputs in the range",
     lambda t, steps: not steps or proved(t)),
    (r"In the differential equation they are from the first box in the last within .*", always),
    # --- what was seen ---
    (r"A counterexample stands in the box|Of [\d,]+ sampled states of the box, at least one has a "
     r"growing mode|No norm certifies this box; a smaller range .*",
     lambda t: t.content.ceiling.abscissa > 0 and not t.specimen.certified),
    (r"No proof on this box exceeds it|The slowest mode found in [\d,]+ sampled .*|None of these "
     r"has a growing mode, which proves nothing about the others|The best rate that was proved .*",
     lambda t: t.content.ceiling.abscissa < 0),
    (r"They shrank", lambda t: len(t.rests) == 1 and not t.turning),
    (r"Small ones shrank(?:, but states ended apart)?",
     lambda t: len(t.rests) > 1 or len(t.turning) > 1),
    (r"They grew|Small differences grew, and the states did not settle", lambda t: t.lost),
    (r"They left the finite numbers", lambda t: t.lost == len(t.runs)),
    (r"They stayed: it oscillates|On a cycle a difference in phase neither grows nor shrinks",
     lambda t: t.turning),
    (r"Undecided: zero is in the error bar|Whether small differences grow or shrink cannot be told "
     r"from this run; on an oscillation they do neither",
     lambda t: not alone(t)),
    (r"All initial states under these inputs approached each other", alone),
    (r"Where a state ended depends on where it began|These initial states ended together; under "
     r"the mean input others ended elsewhere",
     lambda t: len(t.rests) > 1 or len(t.turning) > 1),
    (r"Over [\d,]+ steps, (?:in which the inputs were gone through [\d.]+ times, )?(.*)",
     lambda t, clauses: all(ended(t, each, data=True) for each in clauses_of(clauses))),
    (r"Under the mean input, (.*) \(measured over .*, unfold by unfold\)",
     lambda t, clauses: all(ended(t, each) for each in clauses_of(clauses))),
    (r"This is about the inputs that were used, and is no proof|The estimate has not converged to "
     r"its tolerance|This is that of the least stable of these", always),
    # --- ends ---
    (r"Ends in one state", alone),
    (r"Ends in one of (\d+) states", lambda t, count: int(count) == len(t.rests)),
    (rf"Ends in (one state or )?an oscillation with a period of ({NUMBER}) time units",
     lambda t, one, period: of_period(t, period) and len(t.rests) == bool(one) + symmetric(t)),
    (r"Ends in a motion in which no period was found",
     lambda t: t.specimen.odd and len(t.turning) > 20),
    (r"The steps leave the box|The steps diverge", lambda t: t.lost == len(t.runs)),
    (r"Newton's method found (\d+) equilibri(?:um|a) of the differential equation from .*",
     lambda t, count: equilibria(t, count, sum(
         rest.linearised == "attracting" for rest in t.content.equilibria.shown))),
    (r"The certificate leaves room for no other", lambda t: t.specimen.certified),
    (r"There may be others|There must be others.*", lambda t: not t.specimen.certified),
    # --- gradients and gains ---
    (r"Gradients fade, for certain|A gradient carried back through time has fallen to 1/e .*",
     lambda t: proved(t) and t.specimen.certified and alone(t)),
    (r"Gradients faded in this run|The inverse of the largest Lyapunov exponent: .*|In the run it "
     r"took about .*", lambda t: bool(t.rests) or flips(t)),
    (r"No horizon was seen|Small differences were not seen to decay for certain, so neither .*",
     lambda t: not alone(t)),
    (r"No bound was proved", lambda t: t.content.contraction.horizon is None),
    (r"No bound known|A bound follows from a certificate, and there is none",
     lambda t: not t.specimen.certified),
    (r"In the differential equation, inputs in the range that are off by 1 .*|It says more than "
     r"the box does for errors below .*", lambda t: t.specimen.certified),
    # --- what was not looked at ---
    (r"Not examined|The preconditions do not hold|Got a layer with mixed memory, .*|Neuron 1 has "
     r"neither a leak nor .*", lambda t: t.specimen.odd),
    (r"Not recorded|The error at the task is not recorded|No ledger|No ledger of edits was .*",
     always),
    # --- warnings ---
    (r"The solver is '(\w+)': the proofs are about the differential equation, and not about its "
     r"step", lambda t, name: name == t.model.cell.solver.name != "semi_implicit"),
    (r"A neuron has no leak, so nothing holds it when its gates are closed",
     lambda t: (t.model.cell.gleak == 0).any()),
    (r"A memory cell changes the state between the steps, and nothing is proved of it",
     lambda t: t.model.memory is not None),
]  # fmt: skip


def flips(truth):
    """Whether the steps go round a cycle that draws them, point by point."""
    return bool(truth.turning) and np.allclose(truth.turning[0][-1], truth.turning[0][-3])


def symmetric(truth):
    return 0


def clauses_of(text):
    return re.split(r", (?=\d+ of)| and (?=\d+ of)", text)


def ended(truth, clause, *, data=False):
    """Whether a clause on where starts ended is true."""
    found = re.fullmatch(r"(\d+) of (\d+) starts (.*)", clause)
    assert found, clause
    count, starts, what = int(found[1]), int(found[2]), found[3]
    if what == "came to rest in one state" or what == "ended on one trajectory":
        return count <= starts and len(truth.rests) >= 1
    several = re.fullmatch(r"(?:came to rest in|ended on) (\d+) different (?:states|traj.*)", what)
    if several:
        return int(several[1]) == (len(truth.rests) or (2 if flips(truth) else 0))
    turning = re.fullmatch(
        rf"settled on an oscillation with a period of ({NUMBER}) time units", what
    )
    if turning:
        return of_period(truth, turning[1])
    if what == "kept moving without a period that was found":
        return bool(truth.turning) and (data or truth.specimen.odd)
    if what == "left the finite numbers":
        return truth.lost > 0
    # At rest where nothing draws them, growing, or one of a continuum.
    return what == "settled on no attractor" and not alone(truth)


def sentences_of(text):
    return [each.rstrip(".") for each in re.split(r"\.\s+(?=[A-Z])", text.strip()) if each]


def said(made):
    """Return every sentence of the cards, the summary, the facts on ends, and the warnings."""
    told = facts(made.content)
    texts = [made.summary, *warnings(made.content)]
    texts += [fact.meaning for fact in told["exponents"][:1]]
    texts += [fact.meaning for fact in told["equilibria"][1:]]
    for verdict in made.verdicts:
        texts += [verdict.headline, verdict.sentence]
    return list(dict.fromkeys(each for text in texts for each in sentences_of(text)))


def covers(pattern, sentence):
    """Return the groups of a pattern that is the whole sentence, None for another one."""
    found = re.fullmatch(pattern, sentence)
    return None if found is None else found.groups()


@pytest.mark.parametrize("name", SPECIMENS)
def test_every_sentence_is_true(name):
    truth = truth_of(name)
    for sentence in said(truth.made):
        claims = [(check, covers(pattern, sentence)) for pattern, check in CLAIMS]
        claims = [(check, groups) for check, groups in claims if groups is not None]
        assert claims, f"{name}: no claim covers {sentence!r}"
        for check, groups in claims:
            assert check(truth, *groups), f"{name}: {sentence!r} is not so"


@pytest.mark.parametrize("name", SPECIMENS)
def test_what_must_be_said_is_said(name):
    truth = truth_of(name)
    specimen, content = truth.specimen, truth.content
    cards = {verdict.name: verdict for verdict in truth.made.verdicts}
    if specimen.diverges:
        assert "left the" in cards["certificate"].headline
        assert "left the" in cards["boxes"].headline
        assert cards["certificate"].status == cards["boxes"].status == "uncertified"
        assert "The steps that ran left" in truth.made.summary
        return
    assert (content.contraction is not None and content.contraction.certified) == (
        specimen.certified
    )
    if specimen.odd:
        return
    kinds = [each.kind for each in content.attractors.shown]
    assert kinds.count("equilibrium") == specimen.rests == len(truth.rests)
    assert kinds.count("cycle") == specimen.turns
    if specimen.rests > 1:
        assert "attracting, were found" in truth.made.summary
        assert "two boxes that no trajectory leaves" in truth.made.summary
        assert "approached each other" not in cards["exponents"].sentence
    if specimen.turns and not specimen.rests and not specimen.certified:
        assert "an equilibrium has a mode that grows" in truth.made.summary
    if specimen.turns:
        period = next(each.period for each in content.attractors.shown if each.kind == "cycle")
        assert period == pytest.approx(truth.period, rel=5e-3)
        assert f"period of {number(period)} time units" in cards["equilibria"].headline
    for each in content.attractors.shown:
        if each.kind == "equilibrium":
            assert tuple(np.round(each.lo / 5e-3).astype(int)) in truth.rests


@pytest.mark.parametrize("name", SPECIMENS)
def test_page_and_json_say_these_sentences(name):
    truth = truth_of(name)
    page = truth.made.html
    words = html.unescape(re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S))
    words = re.sub(r"<[^>]+>", "", words)
    assert truth.made.summary in words
    for verdict in truth.made.verdicts:
        assert verdict.headline in words
        assert verdict.sentence in words
    certified = truth.specimen.certified
    assert ("two trajectories of the differential equation under the same" in words) == certified
    assert ("There is no proof on this range" in words) == ("There is none on" in words)
    document = json.loads(truth.made.to_json())
    assert [each["sentence"] for each in document["verdicts"]] == [
        verdict.sentence for verdict in truth.made.verdicts
    ]
    seen = truth.content.attractors
    assert (document["attractors"] is None) == (seen is None)
    if seen is not None:
        assert [each["kind"] for each in document["attractors"]["shown"]] == [
            each.kind for each in seen.shown
        ]
    truth.made.figures()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_false_sentence_would_be_noticed(seed):
    """Sentences of one specimen, put to the truth of another."""
    said_of = ("one attractor", "bistable", "oscillation", "Euler, too long")
    sentences = said(truth_of(said_of[seed]).made)
    other = truth_of(said_of[(seed + 1) % 4])
    false = 0
    for sentence in sentences:
        for pattern, check in CLAIMS:
            groups = covers(pattern, sentence)
            false += groups is not None and not check(other, *groups)
    assert false >= 4


def test_the_periods_of_the_zoo():
    """The oscillation of the equation has the period of its steps, as these become short."""
    model = zoo.ring()
    at = zoo.currents(model, [0.0])
    start = np.array([0.3, 0.1, -0.2])
    flow = zoo.period_between_crossings(zoo.followed(zoo.derivative_of(at), start, 60)[3000:], 0.01)
    coarse, fine = (
        zoo.period_between_crossings(
            zoo.unfolded(at, start, h, round(60 / h), "semi_implicit")[round(30 / h) :], h
        )
        for h in (0.02, 0.002)
    )
    assert flow == pytest.approx(1.6527, abs=1e-3)
    assert abs(fine - flow) < 0.2 * abs(coarse - flow)
