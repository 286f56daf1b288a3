r"""Steps of explicit Runge-Kutta methods as sums of products of the Jacobians of their stages.

Let rho be a rate, z = h rho, and M_q = 1 + J_q / rho for the Jacobian J_q of the flow at stage q.
The derivative of the stages by the old state, and of the step, with h J_q = z (M_q - 1), are

.. math:: Y_q = 1 + z \sum_{r < q} a_{qr} (M_r - 1)\, Y_r, \qquad
    X = 1 + z \sum_q b_q (M_q - 1)\, Y_q

which multiplied out are sums over words: X is the sum of c_w(z) M_q M_r ... over falling sequences
w = q r ... of stages, with polynomials c_w that sum to 1. So a bound |M_q| v <= T(v) of the
absolute rows of one Jacobian is one of the step,

.. math:: |X|\, v \le \sum_k e_k(z)\, T^k(v), \qquad e_k(z) = \sum_{|w| = k} |c_w(z)|

The words of Euler's method have the coefficients 1 - z and z. Of the 16 of `rk4` four are negative,
of which those of length 2 are - z^3 / 12 + z^4 / 24, and the e_k sum to 1 + z^3 / 3 for z <= 1: so
much a step has to make up for. Absolute values stage by stage would cost z^2 / 2 instead, for the
third stage alone, 1 + z (M_2 - 1) Y_2 / 2, has - z^2 / 4 of M_1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
from numpy.polynomial import Polynomial

from elegans.proofs.certificates.network import SLACK, Array
from elegans.proofs.certificates.stepping import Lengths
from elegans.solvers import Solver
from elegans.solvers.runge_kutta import ButcherTableau, RungeKutta

MOST_STAGES = 8
"""Stages of methods whose steps are multiplied out: s of them have 2^s words."""

_RATIO = 1.02
_PARTS = 256

_Words = dict[tuple[int, ...], Polynomial]


@dataclass(frozen=True, eq=False)
class WordSums:
    """The coefficients c_w of one state as polynomials, by the length of their words.

    Parameters
    ----------
    by_length
        One array for each length from 0, shape (word, degree).
    words
        The words themselves, in this order.
    """

    by_length: tuple[Array, ...]
    words: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, words: _Words) -> WordSums:
        """Return the coefficients of words."""
        ordered = sorted(words, key=lambda word: (len(word), word))
        degree = max(len(each.coef) for each in words.values())
        held: list[list[Array]] = [[] for _ in range(len(ordered[-1]) + 1)]
        for word in ordered:
            coefficients = words[word].coef
            held[len(word)].append(np.pad(coefficients, (0, degree - len(coefficients))))
        by_length = tuple(np.array(each).reshape(-1, degree) for each in held)
        return cls(by_length, tuple(ordered))

    def sizes(self, z: Array) -> Array:
        """Return e_k(z) for each length k, rounded up, shape (length, ...) for z of shape (...)."""
        return np.stack([np.abs(_at(each, z)).sum(axis=0) for each in self.by_length]) + (
            SLACK * (2 + self.degree) * self._absolute(z, np.ones(self.degree + 1))
        )

    def bends(self, z: Array) -> Array:
        """Return a bound of the second derivatives of all c_w up to z, summed, as `sizes`."""
        power = np.arange(self.degree + 1)
        return self._absolute(z, power * (power - 1.0)) / z**2

    @property
    def degree(self) -> int:
        """The largest degree of a coefficient."""
        return int(self.by_length[0].shape[1]) - 1

    def _absolute(self, z: Array, factor: Array) -> Array:
        """Return the sums of all terms, taken as positive and times a factor for each power."""
        return np.stack([_at(factor * np.abs(each), z).sum(axis=0) for each in self.by_length])

    def between(self, edges: Array, rate: Array | float) -> Array:
        r"""Return numbers of which a combination bounds the one of e_k at any length h.

        For h between two neighbours of `edges` and any numbers v_k >= 0, the sum of e_k v_k is at
        most the larger of the sums at both neighbours with these in place of e_k: a polynomial
        is off its chord by at most a square of the distance times its second derivative / 8.

        Parameters
        ----------
        edges
            Lengths h in ascending order, shape (edge,).
        rate
            rho, a number or one a neuron, shape (neuron,).

        Returns
        -------
        Array
            Shape (length, edge) or (length, edge, neuron).
        """
        z = np.multiply.outer(edges, rate)
        return self.sizes(z) + self._off(z)

    def _off(self, z: Array) -> Array:
        """Return how far sizes may be above their chords next to each edge, as `sizes`."""
        off = np.zeros((len(self.by_length), *z.shape))
        if len(z) > 1:
            part = (1 + SLACK) * (z[1:] - z[:-1]) ** 2 / 8 * self.bends(z[1:])
            off[:, 1:] = part
            off[:, :-1] = np.maximum(off[:, :-1], part)
        return off

    def means(self, edges: Array, rate: Array, kept: Array) -> Means:
        """Return the words of one neuron that follows a target at a rate that varies.

        A letter is then the mean m x + (1 - m) r of a state and a target, with m from 0 to `kept`,
        and the step a sum Phi x + Psi_1 r_1 + Psi_2 r_2 + ... whose coefficients sum to 1. Their
        absolute values are convex in each m, so that the ends of all m are the worst.

        Parameters
        ----------
        edges
            As in `between`.
        rate, kept
            rho, and the largest m, of each neuron, shape (neuron,).
        """
        z = np.multiply.outer(edges, rate)
        size = self.sizes(z).sum(axis=0)
        off = self._off(z).sum(axis=0) + SLACK * (2 + self.degree) * size
        coefficients = _at(np.concatenate(self.by_length), z)  # (word, edge, neuron)
        growth, beyond = np.ones(len(rate)), np.zeros(len(rate))
        letters = sorted({q for word in self.words for q in word})
        for ends in itertools.product((False, True), repeat=len(letters)):
            on = dict(zip(letters, ends, strict=True))
            own, drives = np.zeros_like(z), {q: np.zeros_like(z) for q in letters}
            for word, coefficient in zip(self.words, coefficients, strict=True):
                # m is 0 where a letter is off: nothing of what follows it is left.
                length = next((n for n, q in enumerate(word) if not on[q]), None)
                for n, q in enumerate(word[:length]):
                    drives[q] += (kept**n - kept ** (n + 1)) * coefficient
                if length is None:
                    own += kept ** len(word) * coefficient
                else:
                    drives[word[length]] += kept**length * coefficient
            drive = sum(map(np.abs, drives.values()), np.zeros_like(z))
            room = 1 - np.abs(own) - off
            with np.errstate(divide="ignore"):
                most = np.where(room > 0, (1 + SLACK) * drive / room, np.inf)
            growth = np.maximum(growth, most.max(axis=0))
            beyond = np.maximum(beyond, 0.5 * (np.abs(own) + drive + off - 1).max(axis=0))
        return Means(growth, beyond)


@dataclass(frozen=True, eq=False)
class Means:
    """How far a neuron that follows a target is led by a step, of shape (neuron,).

    Parameters
    ----------
    growth
        The largest ratio of the sum of absolute Psi to 1 - Phi: no step leads out of a box that is
        wider than the range of the targets by this; infinite where no box is wide enough.
    beyond
        The largest sum of negative coefficients: so many widths of the hull of states and targets
        a state may be outside.
    """

    growth: Array
    beyond: Array


def _at(coefficients: Array, z: Array) -> Array:
    """Return polynomials (word, degree) at z (...), shape (word, ...)."""
    powers = np.stack([z**n for n in range(coefficients.shape[1])])
    return np.tensordot(coefficients, powers, axes=1)


@dataclass(frozen=True, eq=False)
class StepWords:
    """The words of all stages of a step, and of its end."""

    stages: tuple[WordSums, ...]
    end: WordSums


def step_words(solver: Solver) -> StepWords | None:
    """Return the words of the step of an explicit Runge-Kutta method, None for another solver.

    Examples
    --------
    >>> from elegans.solvers import get_solver
    >>> [each.tolist() for each in step_words(get_solver("euler")).end.by_length]
    [[[1.0, -1.0]], [[0.0, 1.0]]]
    >>> rk4 = step_words(get_solver("rk4")).end
    >>> round(float(rk4.sizes(np.array(0.5)).sum()), 6)  # 1 + z^3 / 3
    1.041667
    """
    if not isinstance(solver, RungeKutta) or len(solver.tableau.weights) > MOST_STAGES:
        return None
    if type(solver).step is not RungeKutta.step or type(solver).advance is not Solver.advance:
        return None
    return words_of(solver.tableau)


def words_of(table: ButcherTableau) -> StepWords:
    """Return the words of the step of a tableau."""
    z, one = Polynomial([0.0, 1.0]), Polynomial([1.0])
    stages: list[_Words] = []

    def moved(row: Sequence[SupportsFloat]) -> _Words:
        total: _Words = {(): one}
        for q, (share, words) in enumerate(zip(row, stages, strict=False)):
            factor = float(share) * z
            if not factor.coef.any():
                continue
            for word, coefficient in words.items():
                for longer, signed in (((q, *word), factor), (word, -factor)):
                    total[longer] = total.get(longer, 0 * one) + signed * coefficient
        return total

    for row in table.matrix:
        stages.append(moved(row))
    return StepWords(tuple(map(WordSums.of, stages)), WordSums.of(moved(table.weights)))


def edges_between(lengths: Lengths) -> Array:
    """Return lengths from the shortest to the longest, whose neighbours are close, (edge,)."""
    shortest, longest = lengths
    if longest == shortest:
        return np.array([shortest])
    parts = min(_PARTS, math.ceil(math.log(longest / shortest) / math.log(_RATIO)))
    edges = shortest * (longest / shortest) ** (np.arange(parts + 1) / parts)
    edges[0], edges[-1] = shortest, longest
    return np.asarray(edges)
