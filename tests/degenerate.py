"""Degenerate circuits, and arrays of cases in which each two of their traits meet."""

from itertools import combinations, product

import numpy as np

from elegans.wiring import Synapses, Wiring

SETS = ("none", "one", "one target", "scattered", "all pairs")
"""Sets of synapses, by their emptiest and their fullest."""


def covering_array(**factors):
    """Return cases, dicts of a value for each factor, in which every two values meet.

    Greedy and without chance: a case begins with a pair of values that has not met, and takes of
    each other factor the value that meets most of those chosen for the first time.
    """
    names = list(factors)
    left = dict.fromkeys(_pairs(factors))
    taken = {(name, k): 0 for name in names for k in range(len(factors[name]))}
    cases = []
    while left:
        (a, i), (b, j) = next(iter(left))
        case = {a: i, b: j}
        for name in names:
            if name in case:
                continue

            def merit(k, name=name, case=case):
                met = sum(_pair((name, k), other) in left for other in case.items())
                return met, -taken[name, k], -k

            case[name] = max(range(len(factors[name])), key=merit)
        for pair in combinations(sorted(case.items()), 2):
            left.pop(pair, None)
        for choice in case.items():
            taken[choice] += 1
        cases.append({name: factors[name][case[name]] for name in names})
    return cases


def pairs_left_out(cases, factors):
    """Return the pairs of values of two factors that meet in none of the cases."""
    met = {
        pair
        for case in cases
        for pair in combinations(sorted((n, factors[n].index(v)) for n, v in case.items()), 2)
    }
    return [pair for pair in _pairs(factors) if pair not in met]


def name_of(case):
    """Return a case as the name of a test."""
    return ",".join(str(value).removeprefix("torch.") for value in case.values())


def circuit(recurrent, sensory, neurons, inputs, outputs="one", slots="sorted", many=70):
    """Return a wiring with two of SETS; `outputs` is ``"one"`` or ``"all"``.

    Slots are sorted by target, or else ``"mixed"``; `many` of them may have one target.
    """
    motor = 1 if outputs == "one" else neurons
    layers = {"motor": motor, "inter": neurons - motor}
    rng = np.random.default_rng(0)
    return Wiring(
        inputs,
        {name: size for name, size in layers.items() if size},
        _synapses(recurrent, neurons, neurons, slots, many, rng),
        _synapses(sensory, inputs, neurons, slots, many, rng),
    )


def _pairs(factors):
    for a, b in combinations(sorted(factors), 2):
        for i, j in product(range(len(factors[a])), range(len(factors[b]))):
            yield (a, i), (b, j)


def _pair(a, b):
    return (a, b) if a < b else (b, a)


def _synapses(kind, sources, targets, slots, many, rng):
    if kind == "none":
        target = np.empty(0, int)
    elif kind == "one":
        target = np.array([targets // 2])
    elif kind == "one target":
        target = np.full(many, targets // 2)
    elif kind == "scattered":  # of three targets, one has none
        target = np.repeat(np.arange(targets), np.arange(targets) % 3)
    else:
        target = np.repeat(np.arange(targets), sources)
    source = np.arange(len(target)) % sources
    if slots == "mixed":
        order = rng.permutation(len(target))
        source, target = source[order], target[order]
    return Synapses(source, target, rng.choice([-1, 1], len(target)))
