"""Exact verification of contraction certificates, with Python's standard library only.

Run it as ``python -m elegans.proofs.verify certificate.json``, or copy this one file anywhere and
run ``python verify.py certificate.json``. It trusts nothing: neither the program that wrote the
certificate nor the file. Every number of the file is a double, hence a rational number, and is
taken as exactly that. No rounding happens except that ranges of gates, which are not rational,
are enclosed by rational numbers from outside. Exit codes: 0 proved, 1 not proved, 2 no certificate.
This is one long file on purpose.

The circuit. Neuron i has capacitance C > 0, leak g >= 0 towards V, a conductance epsilon >= 0
towards 0, and synapses k from j with conductance w >= 0, gain s, centre m, potential E; sensory
synapses come from inputs u = scale * given + shift::

    C dx/dt = g (V - x) - epsilon x + sum w sigma(s (x_j - m)) (E - x),  sigma(z) = 1/(1 + e^-z)

What is checked. [l, h] encloses a gate over the box and the inputs; at level "exact" it is [0, 1].

The statements::

    hull    The first box holds V where g > 0, every E with w > 0, and 0 if epsilon > 0. Then every
            trajectory stays in it or comes ever nearer to it, whatever the inputs.
    entry   The targets r = A/G over box n lie in box n+1, with room: at the upper end, for
            t = (hi' - share hi) / (1 - share), where hi is that of box n and hi' that of box n+1,
            g (V - t) - epsilon t + sum w max(l (E - t), h (E - t)) <= 0, and the mirror image at
            the lower end. Then box n+1 is entered after max(C/G) ln(1/share), and never left.
    stay    The same tests at the ends of the last box: no trajectory leaves it.
    rate    With the weights eta > 0, at both ends xi of each interval of the last box,
            eta_i (lambda C - g - epsilon - sum_sensory w l)
                + sum_recurrent w max_{l <= q <= h} (|s| |E - xi| eta_j q (1 - q) - eta_i q) <= 0.
            Then max |x_i - y_i| / eta_i shrinks at least as exp(-lambda t) between any two
            trajectories in the box under the same input. A self-synapse counts with its sign, and
            the interval of its neuron is cut into pieces, since its gate and xi belong to the same
            potential.
    step    The same for one semi-implicit step of length h: with kappa in place of 1 before the
            gates and C (1 - kappa) / h - kappa (g + epsilon + ...) before them, the step shrinks
            the same distance by the factor kappa, if self-synapses do not turn its sign: the sum
            of w |s| |E - xi| / 4 over those that pull against the neuron is at most C/h.
    gain    With D in place of eta and the effect b of a unit change of the inputs in place of
            lambda C eta: two trajectories from one state under inputs that differ by at most d
            differ by at most D_i d.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import sys
from fractions import Fraction
from itertools import pairwise
from typing import Any

Document = dict[str, Any]
Box = tuple[list[Fraction], list[Fraction]]
"""Lower and upper ends."""
Range = tuple[Fraction, Fraction]
Synapse = tuple[int, Fraction, Fraction, Fraction, Fraction]
"""Source, conductance, gain, centre, potential."""

FORMAT = "elegans.certificate"
VERSION = 1
LEVELS = ("exact", "interval", "float")
LARGEST_FILE = 1 << 30
LARGEST_NUMBER = 1e100
MOST_VALUES = 50_000_000
MOST_LISTS = 100_000
MOST_NEURONS = 10_000_000
MOST_PIECES = 1_024
MOST_TERMS = 100_000_000  # of sums over the pieces of neurons with a synapse to themselves

_BITS = 96  # of the fraction of a fixed-point number
_ONE = 1 << _BITS
_GRID = 64  # bounds of gates are multiples of 2**-64


class MalformedError(Exception):
    """The file is no certificate."""


class NotProvedError(Exception):
    """A statement of the certificate does not follow from its numbers."""


# --- rational enclosures of a gate ----------------------------------------------------------


def sigmoid_below(z: Fraction) -> Fraction:
    """Return a rational bound <= 1 / (1 + exp(-z)), within 2**-60 of it, for a rational z."""
    if z >= 0:
        e = exp_minus(z, above=True)
        return Fraction((_ONE << _GRID) // (_ONE + e), 1 << _GRID)
    e = exp_minus(-z, above=False)
    return Fraction((e << _GRID) // (_ONE + e), 1 << _GRID)


def sigmoid_above(z: Fraction) -> Fraction:
    """Return a rational bound >= 1 / (1 + exp(-z)): the mirror image of `sigmoid_below`."""
    return 1 - sigmoid_below(-z)


def exp_minus(y: Fraction, above: bool) -> int:
    """Return a fixed-point bound of exp(-y) for a rational y >= 0, from above or from below."""
    if y >= 64:
        return _ONE >> 92 if above else 0  # exp(-64) < 2**-92
    # exp(-y) = exp(-r)**1024 with r = y / 1024 <= 1/16, rounded to the side of the bound.
    floor = ((y.numerator << _BITS) // y.denominator) >> 10
    r = floor if above else floor + 1
    # 1 - r + r^2/2 - ..., cut off after a term of the sign of the bound: what is left has the
    # other sign. Each term is rounded by less than 1 for each of its factors.
    total, term, n, lost = _ONE, _ONE, 0, 0
    while term > 0 or (n % 2 == 0) != above:
        n += 1
        term = ((term * r) >> _BITS) // n
        lost += 2
        total += -term if n % 2 else term
    total += lost if above else -lost
    for _ in range(10):
        total = -((-total * total) >> _BITS) if above else (total * total) >> _BITS
    return total


# --- the circuit ----------------------------------------------------------------------------


class SynapseData:
    """Synapses by their target: rows[i] lists (source, weight, gain, centre, potential)."""

    def __init__(self, document: Document, neurons: int, sources: int, where: str) -> None:
        fields = ("source", "target", "weight", "gain", "centre", "potential")
        _only(document, fields, where)
        source, target = (_indices(document, name, where) for name in fields[:2])
        count = len(source)
        numbers = [_numbers(document, name, count, where) for name in fields[2:]]
        if len(target) != count:
            raise MalformedError(f"{where}: {count} sources but {len(target)} targets")
        self.rows: list[list[Synapse]] = [[] for _ in range(neurons)]
        for k in range(count):
            j, i = source[k], target[k]
            if j >= sources or i >= neurons:
                raise MalformedError(
                    f"{where}: synapse {k} leads from {j} to {i}, outside the circuit"
                )
            weight, gain, centre, potential = (column[k] for column in numbers)
            if weight < 0:
                raise NotProvedError(f"{where}: synapse {k} has a negative conductance")
            if weight > 0:
                self.rows[i].append((j, weight, gain, centre, potential))


class CircuitData:
    """The circuit that a certificate is about."""

    def __init__(self, document: Document) -> None:
        where = "network"
        names = ("capacitance", "leak", "leak_potential")
        _only(document, (*names, "epsilon", "recurrent", "sensory", "scale", "shift"), where)
        self.capacitance = _numbers(document, "capacitance", None, where)
        self.size = len(self.capacitance)
        if not 1 <= self.size <= MOST_NEURONS:
            raise MalformedError(f"network: {self.size} neurons")
        self.leak, self.leak_potential = (
            _numbers(document, name, self.size, where) for name in names[1:]
        )
        self.scale = _numbers(document, "scale", None, where)
        self.shift = _numbers(document, "shift", len(self.scale), where)
        self.epsilon = _number(document.get("epsilon"), "network.epsilon")
        self.recurrent, self.sensory = (
            SynapseData(_mapping(document, kind, where), self.size, sources, f"network.{kind}")
            for kind, sources in (("recurrent", self.size), ("sensory", len(self.scale)))
        )
        for i in range(self.size):
            if self.capacitance[i] <= 0 or self.leak[i] < 0 or self.epsilon < 0:
                raise NotProvedError(
                    f"neuron {i}: a capacitance is not positive, or a leak negative"
                )


# --- ranges of gates --------------------------------------------------------------------------

FREE = (Fraction(0), Fraction(1))


class GateBounds:
    """Ranges of the gates, row by row in the order of the synapses."""

    def __init__(self, circuit: CircuitData, box: Box, inputs: Box | None) -> None:
        if inputs is None:
            self.recurrent = [[FREE] * len(row) for row in circuit.recurrent.rows]
            self.sensory = [[FREE] * len(row) for row in circuit.sensory.rows]
            return
        self.recurrent = [_row_gates(row, *box) for row in circuit.recurrent.rows]
        self.sensory = [_row_gates(row, *inputs) for row in circuit.sensory.rows]


def _row_gates(row: list[Synapse], lo: list[Fraction], hi: list[Fraction]) -> list[Range]:
    gates = []
    for j, _, gain, centre, _ in row:
        ends = sorted((gain * (lo[j] - centre), gain * (hi[j] - centre)))
        gates.append((sigmoid_below(ends[0]), sigmoid_above(ends[1])))
    return gates


def mapped(circuit: CircuitData, given: Box) -> Box:
    """Return the range of the mapped inputs, two lists."""
    ends = [
        sorted((scale * lo + shift, scale * hi + shift))
        for scale, shift, lo, hi in zip(circuit.scale, circuit.shift, *given, strict=True)
    ]
    return [end[0] for end in ends], [end[1] for end in ends]


# --- the statements -----------------------------------------------------------------------------


def check_hull(circuit: CircuitData, box: Box) -> None:
    """Raise unless `box` holds every potential that pulls at a neuron."""
    lo, hi = box
    for i in range(circuit.size):
        pulls = [synapse[4] for synapse in circuit.recurrent.rows[i] + circuit.sensory.rows[i]]
        if circuit.leak[i] > 0:
            pulls.append(circuit.leak_potential[i])
        if circuit.epsilon > 0:
            pulls.append(Fraction(0))
        if circuit.leak[i] + circuit.epsilon <= 0:
            raise NotProvedError(
                f"hull: neuron {i} has no leak and may be cut off from all that pulls"
            )
        if not (lo[i] <= min(pulls) and max(pulls) <= hi[i]):
            raise NotProvedError(f"hull: the first box does not hold all potentials of neuron {i}")


def pull(circuit: CircuitData, gates: GateBounds, i: int, t: Fraction, sign: int) -> Fraction:
    """Return the largest (sign 1) or least (sign -1) current into neuron i held at t."""
    current = circuit.leak[i] * (circuit.leak_potential[i] - t) - circuit.epsilon * t
    for rows, ranges in (
        (circuit.recurrent.rows[i], gates.recurrent[i]),
        (circuit.sensory.rows[i], gates.sensory[i]),
    ):
        for (_, weight, _, _, potential), (least, most) in zip(rows, ranges, strict=True):
            force = weight * (potential - t)
            current += force * (most if (force > 0) == (sign > 0) else least)
    return current


def check_stays(circuit: CircuitData, gates: GateBounds, box: Box, what: str) -> None:
    """Raise unless the current points inwards at both ends of every interval."""
    lo, hi = box
    for i in range(circuit.size):
        if pull(circuit, gates, i, hi[i], 1) > 0 or pull(circuit, gates, i, lo[i], -1) < 0:
            raise NotProvedError(f"{what}: neuron {i} may be pulled out of its interval")


def check_entry(
    circuit: CircuitData, gates: GateBounds, outer: Box, inner: Box, share: Fraction, number: int
) -> float:
    """Raise unless `inner` holds a share of `outer` besides all targets over it.

    Returns the time after which it is entered, rounded up.
    """
    for i in range(circuit.size):
        if not outer[0][i] <= inner[0][i] <= inner[1][i] <= outer[1][i]:
            raise NotProvedError(f"entry: box {number} is not inside the one before at neuron {i}")
    core = [
        [(b - share * a) / (1 - share) for a, b in zip(outer[end], inner[end], strict=True)]
        for end in (0, 1)
    ]
    check_stays(circuit, gates, (core[0], core[1]), f"entry of box {number}")
    slowest = max(
        circuit.capacitance[i] / conductance(circuit, gates, i) for i in range(circuit.size)
    )
    try:
        return float(slowest) * -math.log(share) * (1 + 1e-9)
    except (OverflowError, ValueError):
        raise NotProvedError(f"entry: the time to box {number} is no double") from None


def row_sums(
    circuit: CircuitData,
    gates: GateBounds,
    box: Box,
    eta: list[Fraction],
    i: int,
    share: Fraction = Fraction(1),
    pieces: int = 1,
) -> list[Fraction]:
    """Return sum w max_q (b q (1 - q) - share eta_i q) at both ends of each piece of row i."""
    row, ranges = circuit.recurrent.rows[i], gates.recurrent[i]
    mine, lo, hi = eta[i] * share, box[0][i], box[1][i]
    if pieces == 1 or all(j != i for j, _, _, _, _ in row):
        parts = [(lo, hi, ranges)]
    else:
        cuts = [lo + (hi - lo) * n / pieces for n in range(pieces + 1)]
        parts = [(a, b, tied_gates(row, ranges, i, a, b)) for a, b in pairwise(cuts)]
    sums = []
    for a, b, bounds in parts:
        for xi in (a, b):
            total = Fraction(0)
            for (j, weight, gain, _, potential), (least, most) in zip(row, bounds, strict=True):
                slope = gain * (potential - xi)
                coupling = (slope if j == i else abs(slope)) * eta[j]
                total += weight * worst(coupling, mine, least, most)
            sums.append(total)
    return sums


def tied_gates(
    row: list[Synapse], ranges: list[Range], i: int, a: Fraction, b: Fraction
) -> list[Range]:
    """Return the ranges of the gates of row i while its own potential is from a to b."""
    tied = []
    for synapse, (least, most) in zip(row, ranges, strict=True):
        j, _, gain, centre, _ = synapse
        if j == i:
            ends = sorted((gain * (a - centre), gain * (b - centre)))
            least = max(least, sigmoid_below(ends[0]))
            most = min(most, sigmoid_above(ends[1]))
        tied.append((least, most))
    return tied


def worst(b: Fraction, mine: Fraction, least: Fraction, most: Fraction) -> Fraction:
    """Return the maximum over least <= q <= most of b q (1 - q) - mine q."""
    if b > 0:
        excess = b - mine
        if excess > 2 * b * least:
            if excess < 2 * b * most:
                return excess * excess / (4 * b)
            return most * (b * (1 - most) - mine)
        return least * (b * (1 - least) - mine)
    return max(q * (b * (1 - q) - mine) for q in (least, most))


def decay(circuit: CircuitData, gates: GateBounds, i: int) -> Fraction:
    """Return g + epsilon + the sum of w l over the sensory synapses of row i."""
    return (
        circuit.leak[i]
        + circuit.epsilon
        + sum(
            s[1] * gate[0]
            for s, gate in zip(circuit.sensory.rows[i], gates.sensory[i], strict=True)
        )
    )


def conductance(circuit: CircuitData, gates: GateBounds, i: int) -> Fraction:
    """Return the least total conductance of neuron i, which is positive where it has a leak."""
    return decay(circuit, gates, i) + sum(
        synapse[1] * gate[0]
        for synapse, gate in zip(circuit.recurrent.rows[i], gates.recurrent[i], strict=True)
    )


def check_rate(
    circuit: CircuitData,
    gates: GateBounds,
    box: Box,
    eta: list[Fraction],
    rate: Fraction,
    pieces: int,
) -> None:
    """Raise unless the distance shrinks at the rate `rate` > 0."""
    if rate <= 0:
        raise NotProvedError("rate: it is not positive")
    for i in range(circuit.size):
        own = eta[i] * (rate * circuit.capacitance[i] - decay(circuit, gates, i))
        if max(row_sums(circuit, gates, box, eta, i, pieces=pieces)) > -own:
            raise NotProvedError(f"rate: the row of neuron {i} does not reach the rate")


def check_step(
    circuit: CircuitData,
    gates: GateBounds,
    box: Box,
    eta: list[Fraction],
    length: Fraction,
    kappa: Fraction,
) -> None:
    """Raise unless a semi-implicit step shrinks the distance by the factor `kappa`."""
    if not (length > 0 and 0 < kappa < 1):
        raise NotProvedError("step: its length or its factor is out of range")
    for i in range(circuit.size):
        c = circuit.capacitance[i] / length
        turned = Fraction(0)
        for j, weight, gain, _, potential in circuit.recurrent.rows[i]:
            if j == i:
                against = (-gain * (potential - end[i]) for end in box)
                turned += weight * max(*against, Fraction(0))
        if turned > 4 * c:
            raise NotProvedError(f"step: the self-synapse of neuron {i} may turn the step around")
        own = eta[i] * (c * (1 - kappa) - kappa * decay(circuit, gates, i))
        if max(row_sums(circuit, gates, box, eta, i, kappa)) > -own:
            raise NotProvedError(f"step: the row of neuron {i} does not reach the factor")


def check_gain(
    circuit: CircuitData, gates: GateBounds, box: Box, gain: list[Fraction], pieces: int
) -> None:
    """Raise unless inputs that differ by 1 move no neuron i by more than gain i."""
    for i in range(circuit.size):
        effect = Fraction(0)
        for (j, weight, slope, _, potential), (least, most) in zip(
            circuit.sensory.rows[i], gates.sensory[i], strict=True
        ):
            half = Fraction(1, 2)
            q = min(max(half, least), most)  # where q (1 - q) is largest
            reach = max(abs(potential - box[0][i]), abs(potential - box[1][i]))
            effect += weight * abs(slope) * q * (1 - q) * reach * abs(circuit.scale[j])
        own = effect - gain[i] * decay(circuit, gates, i)
        if max(row_sums(circuit, gates, box, gain, i, pieces=pieces)) > -own:
            raise NotProvedError(
                f"gain: the row of neuron {i} does not bound the effect of the inputs"
            )


# --- the file -----------------------------------------------------------------------------------

FIELDS = (
    "format",
    "version",
    "level",
    "network",
    "inputs",
    "attracts",
    "boxes",
    "shares",
    "pieces",
    "norms",
    "step",
    "gain",
    "notes",
    "digest",
)


def digest(document: Document) -> str:
    """Return the fingerprint of everything in a certificate besides the fingerprint."""
    content = {name: value for name, value in document.items() if name != "digest"}
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from None
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def verify(document: Document) -> list[str]:
    """Return the statements that were proved, a list of texts.

    Raises `NotProvedError` if one does not follow, `MalformedError` if this is no certificate.
    """
    _only(document, FIELDS, "certificate")
    version = document["version"]
    if document["format"] != FORMAT or type(version) is not int or version != VERSION:
        raise MalformedError(f"not a file of format {FORMAT} {VERSION}")
    level = document["level"]
    if level not in LEVELS:
        raise MalformedError(f"unknown level {level!r:.40}")
    if document["digest"] != digest(document):
        raise NotProvedError("digest: the file was changed after it was written")
    circuit = CircuitData(_mapping(document, "network", "certificate"))
    inputs = document["inputs"]
    if inputs is not None:
        given = _box(inputs, len(circuit.scale), "inputs")
        inputs = mapped(circuit, given)
    elif level != "exact":
        raise MalformedError("inputs are missing")
    boxes = [
        _box(box, circuit.size, f"boxes[{n}]")
        for n, box in enumerate(_list(document, "boxes", "certificate"))
    ]
    shares = [_number(share, "shares") for share in _list(document, "shares", "certificate")]
    if not boxes or len(shares) != len(boxes) - 1 or not all(0 < s < 1 for s in shares):
        raise MalformedError("a share from 0 to 1 is needed between each box and the next")
    if level == "exact" and len(boxes) > 1:
        raise MalformedError("level exact has one box")
    pieces = document["pieces"]
    if isinstance(pieces, bool) or not isinstance(pieces, int) or not 1 <= pieces <= MOST_PIECES:
        raise MalformedError(f"pieces must be an integer from 1 to {MOST_PIECES}")
    if level == "exact" and pieces > 1:
        raise MalformedError("level exact has one piece")
    attracts = document["attracts"]
    if not isinstance(attracts, bool):
        raise MalformedError("attracts must be true or false")

    proved = []
    if attracts:
        check_hull(circuit, boxes[0])
    elif len(boxes) > 1:
        raise MalformedError("a box that need not attract comes alone")
    free = level == "exact"
    time = 0.0
    for n in range(1, len(boxes)):
        gates = GateBounds(circuit, boxes[n - 1], inputs)
        time += check_entry(circuit, gates, boxes[n - 1], boxes[n], shares[n - 1], n)
    box = boxes[-1]
    gates = GateBounds(circuit, box, None if free else inputs)
    check_stays(circuit, gates, box, "stay")
    inside = "whatever the inputs" if free else "while the inputs keep to their range"
    reached = ""
    if attracts:
        reached = ", and every trajectory tends to it"
        if len(boxes) > 1:
            reached += f", from the first box within a time of {time:.6g}"
    proved.append(f"no trajectory leaves the box{reached}, {inside}")

    norms = _list(document, "norms", "certificate")
    if not norms:
        raise MalformedError("no norm is given")
    tied = sum(
        len(row)
        for i, row in enumerate(circuit.recurrent.rows)
        if any(synapse[0] == i for synapse in row)
    )
    if pieces > 1 and pieces * tied * (len(norms) + 1) > MOST_TERMS:
        raise MalformedError(f"{pieces} pieces of {tied} synapses in {len(norms)} norms: too many")
    for n, norm in enumerate(norms):
        _only(norm, ("eta", "rate"), f"norms[{n}]")
        eta = _positive(_numbers(norm, "eta", circuit.size, f"norms[{n}]"), f"norms[{n}].eta")
        rate = _number(norm["rate"], f"norms[{n}].rate")
        check_rate(circuit, gates, box, eta, rate, pieces)
        proved.append(
            f"two trajectories in the box approach each other at the rate {float(rate):.6g} "
            f"(weighted maximum norm, weights spread by {_shown(max(eta) / min(eta))})"
        )
        if n == 0 and document["step"] is not None:
            step = _mapping(document, "step", "certificate")
            _only(step, ("length", "kappa", "unfolds"), "step")
            unfolds = step["unfolds"]
            if type(unfolds) is not int or not 1 <= unfolds <= 1_000_000:
                raise MalformedError("step.unfolds must be an integer from 1")
            length, kappa = (_number(step[name], f"step.{name}") for name in ("length", "kappa"))
            check_step(circuit, gates, box, eta, length, kappa)
            proved.append(
                f"a semi-implicit step of length {float(length):.6g} brings them nearer by the "
                f"factor {float(kappa):.9g} or less"
            )
    if document["gain"] is not None:
        gain = _positive(_numbers(document, "gain", circuit.size, "certificate"), "gain")
        check_gain(circuit, gates, box, gain, pieces)
        proved.append(
            "two trajectories from one state of the box under inputs that differ by 1 differ by at "
            f"most {float(max(gain)):.6g} at every neuron"
        )
    return proved


def _shown(ratio: Fraction) -> str:
    """Return a ratio as text; that of two doubles may be too large for a double."""
    try:
        return f"{float(ratio):.3g}"
    except OverflowError:
        return "more than 1e308"


def load(text: str) -> Document:
    """Return the document in a text; raise `MalformedError` if it is no plain JSON object."""
    # Each takes more memory than its characters.
    values, lists = text.count(","), text.count("[") + text.count("{")
    if values > MOST_VALUES or lists > MOST_LISTS:
        raise MalformedError(f"{values} values in {lists} lists: too many")
    try:
        document = json.loads(
            text,
            parse_float=_parse_float,
            parse_int=_parse_int,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except MalformedError:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise MalformedError("not a JSON object")
    return document


def read(path: str) -> Document:
    """Return the document in a file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait, a device need not end
            raise OSError("no regular file")
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # of a name that cannot be
        raise MalformedError(f"cannot be read: {error}") from None
    if len(content) > LARGEST_FILE:
        raise MalformedError(f"larger than {LARGEST_FILE} bytes")
    try:
        return load(content.decode())
    except UnicodeDecodeError as error:
        raise MalformedError(f"not text: {error}") from None


def _parse_float(text: str) -> float:
    if len(text) > 40:
        raise MalformedError(f"a number of {len(text)} characters")
    value = float(text)
    if math.isinf(value):
        raise MalformedError(f"the number {text} is too large")
    return value


def _parse_int(text: str) -> int:
    if len(text) > 20:
        raise MalformedError(f"a number of {len(text)} characters")
    return int(text)


def _refuse_constant(text: str) -> float:
    raise MalformedError(f"the number {text}")


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise MalformedError("an object names a field twice")
    return document


def _only(document: Any, names: tuple[str, ...], where: str) -> None:
    if not isinstance(document, dict):
        raise MalformedError(f"{where}: not an object")
    wrong = sorted(set(document) ^ set(names), key=str)
    if wrong:
        raise MalformedError(f"{where}: the field {wrong[0]!r} is missing or unknown")


def _mapping(document: Document, name: str, where: str) -> Document:
    value = document[name]
    if not isinstance(value, dict):
        raise MalformedError(f"{where}.{name}: not an object")
    return value


def _list(document: Document, name: str, where: str) -> list[Any]:
    value = document[name]
    if not isinstance(value, list):
        raise MalformedError(f"{where}.{name}: not a list")
    return value


def _number(value: Any, where: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MalformedError(f"{where}: {value!r:.40} is no number")
    if not abs(value) <= LARGEST_NUMBER:
        raise MalformedError(f"{where}: {value!r:.40} is too large")
    return Fraction(value)


def _numbers(document: Document, name: str, count: int | None, where: str) -> list[Fraction]:
    values = _list(document, name, where)
    if count is not None and len(values) != count:
        raise MalformedError(f"{where}.{name}: {len(values)} numbers, {count} are needed")
    return [_number(value, f"{where}.{name}") for value in values]


def _indices(document: Document, name: str, where: str) -> list[int]:
    values = _list(document, name, where)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise MalformedError(f"{where}.{name}: {value!r:.40} is no index")
    return values


def _positive(values: list[Fraction], where: str) -> list[Fraction]:
    if not all(value > 0 for value in values):
        raise NotProvedError(f"{where}: a number is not positive")
    return values


def _box(document: Any, count: int, where: str) -> Box:
    _only(document, ("lo", "hi"), where)
    lo, hi = (_numbers(document, end, count, where) for end in ("lo", "hi"))
    if any(a > b for a, b in zip(lo, hi, strict=True)):
        raise MalformedError(f"{where}: a lower end is above the upper")
    return lo, hi


def main(arguments: list[str]) -> int:
    """Check the file that the arguments name, print what was proved, return the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m elegans.proofs.verify CERTIFICATE.json")
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        document = read(arguments[0])
        proved = verify(document)
    except (MalformedError, ArithmeticError, RecursionError, MemoryError) as error:
        text = f"no certificate: {error or type(error).__name__}"
        print(text.encode("ascii", "backslashreplace").decode())  # for any terminal
        return 2
    except NotProvedError as error:
        print(f"not proved: {error}")
        return 1
    for statement in proved:
        print(f"proved: {statement}")
    print(f"the network's fingerprint is {network_digest(document)}")
    return 0


def network_digest(document: Document) -> str:
    """Return the fingerprint of the network alone, to compare with that of a model."""
    text = json.dumps(document["network"], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
