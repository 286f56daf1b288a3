"""What is controlled: linear models in state space, and plants given by formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from elegans.arguments import checked
from elegans.control.lqr import lqr_gain
from elegans.data.sequences import Array
from elegans.errors import InputError
from elegans.extras import require_extra

EXTRA = "control"

_FUNCTIONS = {
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "sqrt": torch.sqrt,
}
_ENCLOSED = ("sin", "cos", "tan", "exp")
"""Functions whose ranges are enclosed, beside square roots."""


class Enclosure(NamedTuple):
    """Ends of intervals, two arrays of one shape."""

    lo: Array
    hi: Array


@checked(InputError)
@dataclass(frozen=True, eq=False)
class LinearPlant:
    """x[t+1] = A x[t] + B u[t], y[t] = C x[t].

    Parameters
    ----------
    dynamics, control, output
        A (state, state), B (state, control) and C (output, state), in units of the plant.

    Raises
    ------
    InputError
        Shapes do not fit together, or a number is not finite.

    Examples
    --------
    >>> plant = LinearPlant([[1, 0.1], [0, 1]], [[0], [0.1]], [[1, 0]])
    >>> plant.sizes
    (2, 1, 1)
    >>> plant.feedback([1, 1], [1]).round(3), plant.observer([1, 1], [1]).round(3)
    (array([[0.917, 1.682]]), array([[0.712],
           [0.589]]))
    """

    dynamics: Any
    control: Any
    output: Any

    def __post_init__(self) -> None:
        for name in ("dynamics", "control", "output"):
            matrix = np.asarray(getattr(self, name), np.float64)
            if matrix.ndim != 2 or not np.isfinite(matrix).all():
                raise InputError(
                    f"got {name} of shape {matrix.shape}, expected a matrix of finite numbers; "
                    "write vectors as matrices of one column or row"
                )
            object.__setattr__(self, name, matrix)
        n, m = self.control.shape
        if self.dynamics.shape != (n, n) or self.output.shape[1] != n or not n or not m:
            raise InputError(
                f"got A {self.dynamics.shape}, B {self.control.shape} and C {self.output.shape}, "
                "expected (n, n), (n, m) and (p, n); check which is which"
            )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of states, controls and outputs."""
        return (*self.control.shape, len(self.output))

    def feedback(self, state_costs: ArrayLike, control_costs: ArrayLike) -> Array:
        """Return K (control, state) of u = -K x, optimal for costs of squares; see `lqr_gain`."""
        costs = (np.diag(np.asarray(c, np.float64)) for c in (state_costs, control_costs))
        return lqr_gain(self.dynamics, self.control, *costs)[0]

    def observer(self, state_noise: ArrayLike, output_noise: ArrayLike) -> Array:
        """Return L (state, output) of Kalman's predictor for variances of noise.

        The estimate follows z[t+1] = A z[t] + B u[t] + L (y[t] - C z[t]).
        """
        noises = (np.diag(np.asarray(c, np.float64)) for c in (state_noise, output_noise))
        return lqr_gain(self.dynamics.T, self.output.T, *noises)[0].T


@checked(InputError)
class Plant:
    r"""A plant given by formulas, stepped by Euler's rule, with rest at 0.

    .. math:: x_{t+1} = x_t + \tau f(x_t, u_t), \qquad f(0, 0) = 0

    Its derivatives are formed symbolically, and enclosed over boxes by interval arithmetic.

    Parameters
    ----------
    motion
        The rate of change of each state, by name, as a formula in states and controls, such as
        ``{"angle": "speed", "speed": "9.8 * sin(angle) + torque"}``. Formulas are evaluated as
        SymPy does, with Python: do not take them from strangers.
    controls
        Names of the controls.
    outputs
        Names of the states that are measured.
    step
        Time tau between two steps, > 0.

    Raises
    ------
    InputError
        A formula is none, uses other names, or does not rest at 0.
    MissingExtraError
        SymPy is not installed, see the extra `control`.

    Examples
    --------
    >>> plant = pendulum()
    >>> plant.linear.dynamics.round(3).tolist()
    [[1.0, 0.02], [0.196, 1.0]]
    >>> plant.advance(torch.tensor([[0.1, 0.0]]), torch.zeros(1, 1))
    tensor([[0.1000, 0.0196]])
    """

    def __init__(
        self,
        motion: Mapping[str, str],
        controls: Sequence[str],
        outputs: Sequence[str],
        step: float,
    ) -> None:
        sympy: Any = require_extra("sympy", EXTRA)
        self.states, self.controls, self.outputs = tuple(motion), tuple(controls), tuple(outputs)
        self.step = float(step)
        unknown = [name for name in self.outputs if name not in self.states]
        if unknown or not self.outputs:
            raise InputError(
                f"got the outputs {self.outputs}, expected names among the states {self.states}"
            )
        if not 0 < self.step < float("inf"):
            raise InputError(f"got step = {step!r}, expected a time above 0")
        names = (*self.states, *self.controls)
        symbols = {name: sympy.Symbol(name, real=True) for name in names}
        self._symbols = list(symbols.values())
        self._rates = []
        for name, formula in motion.items():
            try:
                rate = sympy.sympify(formula, locals=symbols)
                extra = rate.free_symbols - set(self._symbols)
                at_rest = float(rate.subs(dict.fromkeys(self._symbols, 0)))
            except (sympy.SympifyError, TypeError, AttributeError, ValueError) as error:
                raise InputError(
                    f"got {formula!r} for the rate of {name!r}, expected a formula of {names} "
                    f"({error})"
                ) from error
            if extra or at_rest != 0:
                raise InputError(
                    f"got {formula!r} for the rate of {name!r}, expected a formula of {names} "
                    "that is 0 where all of them are 0; shift the states to a rest"
                )
            self._rates.append(rate)
        self._slopes = [[rate.diff(symbol) for symbol in self._symbols] for rate in self._rates]
        formulas = [*self._rates, *(slope for row in self._slopes for slope in row)]
        self._shared, self._reduced = sympy.cse(formulas)  # each common part is enclosed once
        self._function = sympy.lambdify(self._symbols, self._rates, modules=[_FUNCTIONS])
        rest = dict.fromkeys(self._symbols, 0)
        slopes = np.array([[float(d.subs(rest)) for d in row] for row in self._slopes])
        n = len(self.states)
        output = np.eye(n)[[self.states.index(name) for name in self.outputs]]
        self.linear = LinearPlant(
            np.eye(n) + self.step * slopes[:, :n], self.step * slopes[:, n:], output
        )

    def advance(self, states: Tensor, controls: Tensor) -> Tensor:
        """Return the states (batch, state) a step later; differentiable."""
        given = (*states.unbind(-1), *controls.unbind(-1))
        rates = [rate + torch.zeros_like(given[0]) for rate in self._function(*given)]
        return states + self.step * torch.stack(rates, dim=-1)

    def measure(self, states: Tensor) -> Tensor:
        """Return the outputs (batch, output) of states (batch, state)."""
        return states[..., [self.states.index(name) for name in self.outputs]]

    def remainder(self, states: ArrayLike, controls: ArrayLike) -> Array:
        r"""Return how far a step is from the linear one at most, shape (state,).

        .. math::
            |x_{t+1} - A x_t - B u_t|_i \le \tau \sum_j \max |\partial_j f_i - \partial_j f_i(0)|
            \, |z_j|, \qquad z = (x, u),

        the maxima over the box of these bounds, by interval arithmetic.

        Parameters
        ----------
        states, controls
            Bounds of absolute values, (state,) and (control,).
        """
        from mpmath import iv

        bounds = np.concatenate([np.ravel(states), np.ravel(controls)]).astype(np.float64)
        _, slopes = self._over(-bounds, bounds)
        _, at_rest = self._over(0 * bounds, 0 * bounds)
        far = []
        for row, rest in zip(slopes, at_rest, strict=True):
            total = iv.mpf(0)
            for slope, still, bound in zip(row, rest, bounds.tolist(), strict=True):
                total += abs(slope - still) * iv.mpf(bound)
            far.append(float((total * iv.mpf(self.step)).b))
        return np.asarray(np.nextafter(far, np.inf))

    def enclosure(self, lo: Array, hi: Array) -> tuple[Enclosure, Enclosure]:
        """Return the ranges of the rates (state,) and of their slopes (state, state + control).

        By interval arithmetic over the states and controls, in this order, from `lo` to `hi`.

        Examples
        --------
        >>> rates, slopes = pendulum().enclosure(np.full(3, -0.1), np.full(3, 0.1))
        >>> rates.hi.round(3), slopes.hi.round(3)
        (array([0.1  , 1.078]), array([[0. , 1. , 0. ],
               [9.8, 0. , 1. ]]))
        """
        rates, slopes = self._over(lo, hi)
        return _ends(np.array(rates, object)), _ends(np.array(slopes, object))

    def _over(self, lo: Array, hi: Array) -> tuple[list[Any], list[list[Any]]]:
        """Return enclosures of the rates, and of their slopes row by row, as intervals."""
        from mpmath import iv

        ends = zip(self._symbols, lo.tolist(), hi.tolist(), strict=True)
        box = {symbol: iv.mpf([low, high]) for symbol, low, high in ends}
        for symbol, part in self._shared:
            box[symbol] = _enclosed(part, box)
        found = [_enclosed(formula, box) for formula in self._reduced]
        n, axes = len(self.states), len(self._symbols)
        return found[:n], [found[k : k + axes] for k in range(n, len(found), axes)]


def _ends(intervals: Any) -> Enclosure:
    """Return the ends of an array of intervals, as doubles outside of them."""
    lo, hi = (
        np.array([float(getattr(one, end)) for one in intervals.ravel()]).reshape(intervals.shape)
        for end in ("a", "b")
    )
    return Enclosure(np.nextafter(lo, -np.inf), np.nextafter(hi, np.inf))


def _enclosed(formula: Any, box: Mapping[Any, Any]) -> Any:
    """Return an interval that holds a formula's values over a box."""
    from mpmath import iv

    if formula.is_Symbol:
        return box[formula]
    if formula.is_Rational:
        return iv.mpf(int(formula.p)) / iv.mpf(int(formula.q))
    if formula.is_Number:
        return iv.mpf(float(formula))  # a double, taken as exactly that
    parts = [_enclosed(part, box) for part in formula.args]
    if formula.is_Add:
        return sum(parts[1:], parts[0])
    if formula.is_Mul:
        product = parts[0]
        for part in parts[1:]:
            product = product * part
        return product
    if formula.is_Pow and formula.exp.is_Integer:
        return parts[0] ** int(formula.exp)
    if formula.is_Pow and formula.exp.is_Rational and formula.exp.q == 2:
        return iv.sqrt(parts[0]) ** int(formula.exp.p)
    name = formula.func.__name__
    if name in _ENCLOSED:
        return getattr(iv, name)(parts[0])
    raise InputError(
        f"got the function {name} in {formula}, whose range is not enclosed, expected "
        f"{', '.join(_ENCLOSED)}, sums, products and integer powers"
    )


def cart_pole(outputs: Sequence[str] = ("position", "angle")) -> Plant:
    """Return the cart and pole of Gymnasium's CartPole-v1, force in N; `outputs` are measured.

    Examples
    --------
    >>> plant = cart_pole()
    >>> plant.states, plant.controls, plant.outputs, plant.step
    (('position', 'velocity', 'angle', 'spin'), ('force',), ('position', 'angle'), 0.02)

    References
    ----------
    Florian, "Correct equations for the dynamics of the cart-pole system", 2007, without friction.
    """
    mass, pole, half = "1.1", "0.1", "0.5"
    push = f"(force + {pole} * {half} * spin**2 * sin(angle)) / {mass}"
    turn = (
        f"(9.8 * sin(angle) - cos(angle) * ({push}))"
        f" / ({half} * (4 / 3 - {pole} * cos(angle)**2 / {mass}))"
    )
    return Plant(
        {
            "position": "velocity",
            "velocity": f"{push} - {pole} * {half} * ({turn}) * cos(angle) / {mass}",
            "angle": "spin",
            "spin": turn,
        },
        ["force"],
        outputs,
        0.02,
    )


def pendulum(outputs: Sequence[str] = ("angle",)) -> Plant:
    """Return an inverted pendulum of 1 kg at 1 m, torque in N m; `outputs` are measured.

    Examples
    --------
    >>> pendulum().states
    ('angle', 'speed')
    """
    return Plant(
        {"angle": "speed", "speed": "9.8 * sin(angle) + torque"}, ["torque"], outputs, 0.02
    )


def double_integrator(outputs: Sequence[str] = ("position",)) -> Plant:
    """Return a mass of 1 kg without friction, force in N; `outputs` are measured.

    Examples
    --------
    >>> double_integrator().remainder([5, 5], [1]).max() < 1e-300
    np.True_
    """
    return Plant({"position": "velocity", "velocity": "force"}, ["force"], outputs, 0.02)
