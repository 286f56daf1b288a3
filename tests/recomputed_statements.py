"""The statements of a certificate, checked by a second program in double precision.

It shares no code with the library: tests ask it whether a tampered certificate is still true.
"""

from itertools import pairwise

import numpy as np
from scipy.special import expit


class Recomputed:
    """Which statements of a certificate are true, by another program."""

    def __init__(self, document):
        self.document = document
        self.network = {
            name: np.array(value, dtype=float)
            for name, value in document["network"].items()
            if isinstance(value, list)
        }
        self.count = len(self.network["leak"])
        self.epsilon = document["network"]["epsilon"]
        self.rows = {"recurrent": [[] for _ in range(self.count)]}
        self.rows["sensory"] = [[] for _ in range(self.count)]
        for kind, rows in self.rows.items():
            held = document["network"][kind]
            for k, target in enumerate(held["target"]):
                if held["weight"][k] != 0:
                    rows[target].append({name: column[k] for name, column in held.items()})
        self.joined = [[] for _ in range(self.count)]
        held = document["network"].get("electrical", {"weight": []})
        for k, weight in enumerate(held["weight"]):
            if weight != 0:
                j, i, one_way = (held[name][k] for name in ("source", "target", "rectifying"))
                self.joined[i].append((j, weight, one_way, j, i))
                self.joined[j].append((i, weight, one_way, j, i))
        given = document["inputs"]
        scale, shift = self.network["scale"], self.network["shift"]
        self.inputs = np.sort(np.array([given["lo"], given["hi"]]) * scale + shift, axis=0)
        self.boxes = [np.array([box["lo"], box["hi"]], dtype=float) for box in document["boxes"]]
        self.free = document["level"] == "exact"

    def all_rows(self, i):
        return [(kind, row) for kind, rows in self.rows.items() for row in rows[i]]

    def gate(self, kind, row, box, own=None):
        """Return the range of a gate over a box of states, or over a piece of its own interval."""
        if self.free:
            return np.array([0.0, 1.0])
        held = self.inputs if kind == "sensory" else box
        ends = held[:, row["source"]] if own is None else np.array(own)
        return np.sort(expit(row["gain"] * (ends - row["centre"])))

    def ends(self, i, states):
        """Return neuron, conductance, range of the gate and of the potential of junctions at i."""
        for other, weight, one_way, source, target in self.joined[i]:
            gate = np.array([0.0, 1.0]) if one_way else np.ones(2)
            if one_way and states[0, source] > states[1, target]:
                gate[0] = 1.0
            if one_way and states[1, source] <= states[0, target]:
                gate[1] = 0.0
            yield other, weight, gate, states[:, other]

    def leaving(self, i, box, states):
        """Return the largest current of neuron i out of `box` with the gates of `states`."""
        leak, potential = self.network["leak"][i], self.network["leak_potential"][i]
        worst = -np.inf
        for sign, t in zip((-1, 1), box[:, i], strict=True):
            total = sign * (leak * (potential - t) - self.epsilon * t)
            for kind, row in self.all_rows(i):
                force = sign * row["weight"] * (row["potential"] - t)
                total += (self.gate(kind, row, states) * force).max()
            for _, weight, gate, potentials in self.ends(i, states):
                total += max((sign * weight * gate * (p - t)).max() for p in potentials)
            worst = max(worst, total)
        return worst

    def decay(self, i):
        sensory = (r["weight"] * self.gate("sensory", r, None)[0] for r in self.rows["sensory"][i])
        return self.network["leak"][i] + self.epsilon + sum(sensory)

    def coupling(self, i, eta, share, pieces, reach=0.0, turned=False):
        """Return the largest sum of w (b q (1 - q) - share eta q) over row i.

        The potential that pulls is up to a share `reach` from a piece towards the ends of the box;
        self-synapses count with the other sign if `turned`.
        """
        box, worst = self.boxes[-1], -np.inf
        own = any(row["source"] == i for row in self.rows["recurrent"][i])
        cuts = np.linspace(*box[:, i], (pieces if own else 1) + 1)
        for a, b in pairwise(cuts):
            for xi in (a - reach * (a - box[0, i]), b + reach * (box[1, i] - b)):
                # Of a junction that is shut the potential itself pulls, with the rest of its gate.
                rest = -1 if turned else 1
                total = sum(
                    weight * (gate * eta[j] + (rest * (1 - gate) - share) * eta[i]).max()
                    for j, weight, gate, _ in self.ends(i, box)
                )
                for row in self.rows["recurrent"][i]:
                    tied = row["source"] == i and pieces > 1
                    ends = self.gate("recurrent", row, box, (a, b) if tied else None)
                    slope = row["gain"] * (row["potential"] - xi)
                    sign = -1 if turned else 1
                    slope = sign * slope if row["source"] == i else abs(slope)
                    slope *= eta[row["source"]]
                    # A parabola is largest at an end or at its vertex.
                    vertex = 0.5 - 0.5 * share * eta[i] / slope if slope else 0.0
                    q = np.array([*ends, np.clip(vertex, *ends)])
                    total += row["weight"] * (slope * q * (1 - q) - share * eta[i] * q).max()
                worst = max(worst, total)
        return worst

    def turned(self, i):
        """Return how far the self-synapses of neuron i pull against its own change."""
        return sum(
            row["weight"] * max(0.0, *(-row["gain"] * (row["potential"] - self.boxes[-1][:, i])))
            for row in self.rows["recurrent"][i]
            if row["source"] == i
        )

    def effect(self, i):
        """Return the current that a unit change of the inputs can cause."""
        total = 0.0
        for row in self.rows["sensory"][i]:
            q = np.clip(0.5, *self.gate("sensory", row, None))
            reach = np.abs(row["potential"] - self.boxes[-1][:, i]).max()
            scale = abs(row["gain"] * self.network["scale"][row["source"]])
            total += row["weight"] * scale * q * (1 - q) * reach
        return total

    def size(self, i):
        """Return a bound of the terms of row i, for the rounding of sums."""
        reach = 1 + max(np.abs(box[:, i]).max() for box in self.boxes)
        total = (self.network["leak"][i] + self.epsilon) * reach
        total += self.network["leak"][i] * abs(self.network["leak_potential"][i])
        for _, row in self.all_rows(i):
            total += abs(row["weight"]) * (abs(row["potential"]) + reach) * (1 + abs(row["gain"]))
        for j, weight, *_ in self.joined[i]:
            total += abs(weight) * (reach + max(np.abs(box[:, j]).max() for box in self.boxes))
        return 1 + total

    def violations(self):
        """Return by how much each statement fails, relative to its terms; positive: false."""
        found = {}
        for i in range(self.count):
            size = self.size(i)
            for name, value in self.violations_of(i):
                key = f"{name} {i}"
                found[key] = max(found.get(key, -np.inf), value / size)
        return found

    def violations_of(self, i):
        document = self.document
        weights = [row["weight"] for _, row in self.all_rows(i)]
        weights += [weight for _, weight, *_ in self.joined[i]]
        yield "signs", max(-self.epsilon, -self.network["leak"][i], *(-w for w in (0, *weights)))
        if document["attracts"]:
            pulls = [row["potential"] for _, row in self.all_rows(i)]
            pulls += [self.network["leak_potential"][i]] if self.network["leak"][i] > 0 else []
            pulls += [0.0] if self.epsilon > 0 else []
            lo, hi = self.boxes[0][:, i]
            yield "hull", max(max(lo - pull, pull - hi) for pull in pulls)
            for j, *_ in self.joined[i]:
                other = self.boxes[0][:, j]
                yield "joined hull", max(lo - other[0], other[1] - hi)
        for outer, inner, share in zip(
            self.boxes, self.boxes[1:], document["shares"], strict=False
        ):
            yield "inside", max(outer[0, i] - inner[0, i], inner[1, i] - outer[1, i])
            yield "entry", self.leaving(i, (inner - share * outer) / (1 - share), outer)
        yield "stay", self.leaving(i, self.boxes[-1], self.boxes[-1])
        C, decay, pieces = self.network["capacitance"][i], self.decay(i), document["pieces"]
        for norm in document["norms"]:
            eta = norm["eta"]
            yield "rate", norm["rate"] * C - decay + self.coupling(i, eta, 1.0, pieces) / eta[i]
        if document["step"]:
            yield from self.violations_of_step(i, document["step"], C, decay, pieces)
        if document["gain"]:
            gain = document["gain"]
            row = self.effect(i) - gain[i] * decay + self.coupling(i, gain, 1.0, pieces)
            yield "gain", row / (1 + max(gain))

    def violations_of_step(self, i, step, C, decay, pieces):
        eta, kappa, solver = step["eta"], step["kappa"], step["solver"]
        c, slow = C / step["shortest"], C / step["longest"]
        widest = decay + sum(
            row["weight"] * (gate[1] - (gate[0] if kind == "sensory" else 0))
            for kind, row in self.all_rows(i)
            for gate in [self.gate(kind, row, self.boxes[-1])]
        )
        ends = list(self.ends(i, self.boxes[-1]))
        widest += sum(weight * (gate[1] if solver == "euler" else 1) for _, weight, gate, _ in ends)
        z, turned = widest / slow, self.turned(i) / 4
        reach = {"semi_implicit": z / (1 + z), "exponential": min(z / 2, 1)}.get(solver, 0.0)
        share = 1.0 if solver == "euler" else kappa
        row = c * (1 - kappa) - share * decay
        row += self.coupling(i, eta, share, pieces, reach) / eta[i]
        yield "step", row / (1 + c)
        if solver == "semi_implicit" and turned > 0:
            row = -slow * (1 + kappa) - kappa * decay
            yield "turn", row + self.coupling(i, eta, kappa, pieces, reach, turned=True) / eta[i]
        if solver == "euler":
            yield "turn", z + turned / slow - 1
        if solver == "exponential" and turned > 0:
            yield "turn", z / 2 + turned / slow - 1


def holds(document, tolerance=1e-9):
    """Whether every statement is true up to rounding."""
    return max(Recomputed(document).violations().values()) <= tolerance
