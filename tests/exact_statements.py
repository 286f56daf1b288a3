"""The statements of a certificate in rational arithmetic, without any rounding.

A third program, slow and plain: tests ask it whether what was proved with rounding is true to the
last digit. Gates, which are not rational, are computed with a hundred digits.
"""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import cache
from itertools import pairwise

PRECISE = Context(prec=100, Emin=-999_999_999_999, Emax=999_999_999_999, traps=[])


@cache
def sigmoid(z):
    with localcontext(PRECISE):
        closed = (-abs(Decimal(z.numerator) / Decimal(z.denominator))).exp()
        value = (1 if z >= 0 else closed) / (1 + closed)
    return Fraction(value) if value > Decimal("1e-2000") else Fraction(0)


def largest_term(b, share, least, most):
    """Return the maximum of b q (1 - q) - share q over least <= q <= most."""
    ends = [least, most]
    if b > 0:
        ends.append(min(max((b - share) / (2 * b), least), most))
    return max(b * q * (1 - q) - share * q for q in ends)


class Exact:
    """Whether the statements of a certificate are true."""

    def __init__(self, document):
        self.document, network = document, document["network"]
        self.network = {
            name: [Fraction(value) for value in values]
            for name, values in network.items()
            if isinstance(values, list)
        }
        self.count, self.epsilon = len(network["leak"]), Fraction(network["epsilon"])
        self.rows = {kind: [[] for _ in range(self.count)] for kind in ("recurrent", "sensory")}
        for kind, rows in self.rows.items():
            columns = network[kind]
            for k, i in enumerate(columns["target"]):
                row = {name: Fraction(column[k]) for name, column in columns.items()}
                rows[i].append(row | {"source": columns["source"][k]})
        self.joined = [[] for _ in range(self.count)]
        held = network.get("electrical", {"weight": []})
        for k, weight in enumerate(held["weight"]):
            j, i, one_way = (held[name][k] for name in ("source", "target", "rectifying"))
            if weight != 0:
                self.joined[i].append((j, Fraction(weight), one_way, j, i))
                self.joined[j].append((i, Fraction(weight), one_way, j, i))
        given, scale, shift = document["inputs"], self.network["scale"], self.network["shift"]
        ends = [
            sorted(a * Fraction(end) + b for end in pair)
            for a, b, pair in zip(
                scale, shift, zip(given["lo"], given["hi"], strict=True), strict=True
            )
        ]
        self.inputs = [[end[side] for end in ends] for side in (0, 1)]
        self.boxes = [
            [[Fraction(x) for x in box[side]] for side in ("lo", "hi")] for box in document["boxes"]
        ]

    def gate(self, kind, row, box, piece=None):
        if self.document["level"] == "exact":
            return Fraction(0), Fraction(1)
        held = self.inputs if kind == "sensory" else box
        ends = piece or (held[0][row["source"]], held[1][row["source"]])
        return sorted(sigmoid(row["gain"] * (end - row["centre"])) for end in ends)

    def all_rows(self, i):
        return [(kind, row) for kind, rows in self.rows.items() for row in rows[i]]

    def ends(self, i, states):
        """Return neuron, conductance, ends of the gate and of the potential of junctions at i."""
        for other, weight, one_way, source, target in self.joined[i]:
            open_ = not one_way or states[0][source] > states[1][target]
            shut = one_way and states[1][source] <= states[0][target]
            yield other, weight, (int(open_), int(not shut)), (states[0][other], states[1][other])

    def leaves(self, i, t, sign, states):
        leak, potential = self.network["leak"][i], self.network["leak_potential"][i]
        total = sign * (leak * (potential - t) - self.epsilon * t)
        for kind, row in self.all_rows(i):
            force = sign * row["weight"] * (row["potential"] - t)
            total += max(gate * force for gate in self.gate(kind, row, states))
        for _, weight, gates, potentials in self.ends(i, states):
            total += max(sign * weight * q * (p - t) for q in gates for p in potentials)
        return total > 0

    def decay(self, i):
        sensory = (r["weight"] * self.gate("sensory", r, None)[0] for r in self.rows["sensory"][i])
        return self.network["leak"][i] + self.epsilon + sum(sensory)

    def coupling(self, i, eta, share, pieces, reach=0, turned=False):
        """Return the largest sum of w max (b q (1 - q) - share q), b relative to eta_i.

        `reach` and `turned` are as in `recomputed_statements`.
        """
        box, worst = self.boxes[-1], None
        lo, hi = box[0][i], box[1][i]
        own = any(row["source"] == i for row in self.rows["recurrent"][i])
        pieces = pieces if own else 1
        for a, b in pairwise([lo + (hi - lo) * n / pieces for n in range(pieces + 1)]):
            for xi in (a - reach * (a - lo), b + reach * (hi - b)):
                total = Fraction(0)
                for j, weight, gates, _ in self.ends(i, box):
                    rest = -1 if turned else 1
                    total += max(
                        weight * (q * eta[j] / eta[i] + rest * (1 - q) - share) for q in gates
                    )
                for row in self.rows["recurrent"][i]:
                    j, slope = row["source"], row["gain"] * (row["potential"] - xi)
                    piece = (a, b) if j == i and pieces > 1 else None
                    sign = -1 if turned else 1
                    slope = sign * slope if j == i else abs(slope) * eta[j] / eta[i]
                    ends = self.gate("recurrent", row, box, piece)
                    total += row["weight"] * largest_term(slope, share, *ends)
                worst = total if worst is None else max(worst, total)
        return worst

    def turned(self, i):
        return sum(
            row["weight"]
            * max(0, *(-row["gain"] * (row["potential"] - end[i]) for end in self.boxes[-1]))
            for row in self.rows["recurrent"][i]
            if row["source"] == i
        )

    def effect(self, i):
        total = Fraction(0)
        for row in self.rows["sensory"][i]:
            least, most = self.gate("sensory", row, None)
            q = min(max(Fraction(1, 2), least), most)
            reach = max(abs(row["potential"] - end[i]) for end in self.boxes[-1])
            slope = abs(row["gain"] * self.network["scale"][row["source"]])
            total += row["weight"] * slope * q * (1 - q) * reach
        return total

    def failures(self):
        """Return the names of the statements that are false."""
        return sorted({name for i in range(self.count) for name in self._of_row(i)})

    def _of_row(self, i):
        document, pieces = self.document, self.document["pieces"]
        if document["attracts"]:
            pulls = [row["potential"] for _, row in self.all_rows(i) if row["weight"] > 0]
            pulls += [self.network["leak_potential"][i]] if self.network["leak"][i] > 0 else []
            pulls += [Fraction(0)] if self.epsilon > 0 else []
            if not self.boxes[0][0][i] <= min(pulls) <= max(pulls) <= self.boxes[0][1][i]:
                yield "hull"
            lo, hi = (end[i] for end in self.boxes[0])
            if any(
                self.boxes[0][0][j] < lo or self.boxes[0][1][j] > hi for j, *_ in self.joined[i]
            ):
                yield "hull"
        for outer, inner, share in zip(
            self.boxes, self.boxes[1:], map(Fraction, document["shares"]), strict=False
        ):
            for side, sign in ((0, -1), (1, 1)):
                t = (inner[side][i] - share * outer[side][i]) / (1 - share)
                if self.leaves(i, t, sign, outer) or sign * (inner[side][i] - outer[side][i]) > 0:
                    yield "entry"
        for side, sign in ((0, -1), (1, 1)):
            if self.leaves(i, self.boxes[-1][side][i], sign, self.boxes[-1]):
                yield "stay"
        capacitance, decay = self.network["capacitance"][i], self.decay(i)
        for norm in document["norms"]:
            eta = [Fraction(value) for value in norm["eta"]]
            first = Fraction(norm["rate"]) * capacitance - decay
            if norm["rate"] <= 0 or first + self.coupling(i, eta, Fraction(1), pieces) > 0:
                yield "rate"
        if document["step"]:
            yield from self._of_step(i, document["step"], capacitance, decay, pieces)
        if document["gain"]:
            gain = [Fraction(value) for value in document["gain"]]
            first = self.effect(i) / gain[i] - decay
            if first + self.coupling(i, gain, Fraction(1), pieces) > 0:
                yield "gain"

    def _of_step(self, i, step, capacitance, decay, pieces):
        solver, eta = step["solver"], [Fraction(value) for value in step["eta"]]
        kappa, shortest, longest = (
            Fraction(step[name]) for name in ("kappa", "shortest", "longest")
        )
        c, slow = capacitance / shortest, capacitance / longest
        widest = self.network["leak"][i] + self.epsilon
        widest += sum(
            row["weight"] * self.gate(kind, row, self.boxes[-1])[1]
            for kind, row in self.all_rows(i)
        )
        ends = list(self.ends(i, self.boxes[-1]))
        widest += sum(
            weight * (gates[1] if solver == "euler" else 1) for _, weight, gates, _ in ends
        )
        z, turned = widest / slow, self.turned(i) / 4
        reach = {"semi_implicit": z / (1 + z), "exponential": min(z / 2, 1)}.get(solver, 0)
        share = Fraction(1) if solver == "euler" else kappa
        if c * (1 - kappa) - share * decay + self.coupling(i, eta, share, pieces, reach) > 0:
            yield "step"
        if solver == "semi_implicit" and turned > 0:
            back = -slow * (1 + kappa) - kappa * decay
            if back + self.coupling(i, eta, kappa, pieces, reach, turned=True) > 0:
                yield "turn"
        if solver == "euler" and z + turned / slow > 1:
            yield "turn"
        if solver == "exponential" and turned > 0 and z / 2 + turned / slow > 1:
            yield "turn"
