"""Adaptive Runge-Kutta methods of torchdiffeq behind the contract of a `Solver`.

The time s of torchdiffeq runs from 0 to 1 and the derivative is scaled by the elapsed time, so
that the samples of a batch may move through different times in one solve. What is integrated is
the displacement from the initial state: torchdiffeq reads the end of a step off an interpolant
whose coefficients cancel, which costs 30 roundings of whatever is integrated. Of the displacement
they do not matter, and a displacement of zero stays exactly zero. It is a float32 at least: tiny
steps and squared errors leave the range of half precision, in which f alone is evaluated then.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
import torchdiffeq
from torch import Tensor

from elegans.errors import SolveError, SolverError
from elegans.solvers.base import Solver, System

ADAPTIVE_ORDERS = {"dopri5": 5, "dopri8": 8, "bosh3": 3, "fehlberg2": 2, "adaptive_heun": 2}
"""The methods of torchdiffeq that choose their own steps, and the order of each."""

# Local errors are differences of stages; below some roundings of the state they are noise that
# no step, however short, brings under the tolerance.
_RTOL_FLOOR_IN_EPS = 16.0
_ATOL_FLOOR_IN_EPS = 1.0


@dataclass(frozen=True)
class TorchDiffEq(Solver):
    r"""An adaptive method of torchdiffeq; it chooses its own steps and ignores `substeps`.

    .. math:: \frac{dx}{ds} = T f(x), \quad s \in [0, 1], \qquad
        \max_{\text{sample}} \sqrt{\operatorname*{mean}_{\text{neuron}}
        \left( \frac{e}{a + r\,|x|} \right)^2} \le 1

    for the elapsed time T of each sample and the estimate e of the local error: the tolerance
    holds for the worst sample, so that a batch does not hide it. Samples share their steps;
    hence a sample alone and the same sample in a batch agree to the tolerance, not to the bit.

    Gradients flow through the accepted steps. With ``adjoint=True`` they come from the adjoint
    equation solved backwards in time: memory does not grow with the number of steps, but the
    gradient is only as exact as the tolerance (absolute part included: lower `atol` when the
    gradients are tiny), cannot be differentiated again, and reaches nothing but the state, the
    elapsed time and the tensors named by `System.parameters`.

    Parameters
    ----------
    method
        One of "dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun". The estimate of
        "fehlberg2" is a small one: its errors may be a hundred times the tolerance.
    rtol, atol
        Relative and absolute tolerance of the local error. A tolerance finer than the dtype can
        resolve counts as 16 and 1 machine epsilons, in float32 1.9e-6 and 1.2e-7.
    adjoint
        Whether gradients come from the adjoint equation.
    max_num_steps
        The most steps, rejected ones included, of one solve and of its adjoint.
    min_step, max_step
        Bounds of the step length as fractions of the elapsed time; a step of `min_step` is
        accepted whatever its error.

    Raises
    ------
    SolverError
        When made with an unknown method or with settings out of range.
    SolveError
        When solving needs steps too short to move the time, more than `max_num_steps` steps, or
        meets non-finite states, in the backward pass of an adjoint as well. The message names the
        time, and sample and neuron of the first non-finite value or of the largest error.

    References
    ----------
    Chen, Rubanova, Bettencourt, Duvenaud, "Neural ordinary differential equations", NeurIPS 2018,
    algorithm 1 for the adjoint; Dormand, Prince, J. Comput. Appl. Math. 6 (1980) for dopri5.

    Examples
    --------
    >>> import torch
    >>> from elegans.solvers import System, TorchDiffEq
    >>> class Decay(System):
    ...     def derivative(self, state):
    ...         return -state
    >>> elapsed = torch.tensor([[0.0], [1.0], [2.0]])
    >>> TorchDiffEq("dopri5").advance(Decay(), torch.ones(3, 1), elapsed, substeps=1)
    tensor([[1.0000],
            [0.3679],
            [0.1353]])
    """

    method: str = "dopri5"
    _: KW_ONLY
    rtol: float = 1e-6
    atol: float = 1e-8
    adjoint: bool = False
    max_num_steps: int = 10_000
    min_step: float = 0.0
    max_step: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in ADAPTIVE_ORDERS:
            raise SolverError(
                f"got adaptive method {self.method!r}, expected one of {sorted(ADAPTIVE_ORDERS)}; "
                "fixed-step methods such as 'rk4' have solvers of their own, see solver_names()"
            )
        for name in ("rtol", "atol"):
            if not 0 < getattr(self, name) < 1:
                raise SolverError(
                    f"got {name}={getattr(self, name)!r}, expected a number between 0 and 1; "
                    "the default suits potentials of order one"
                )
        if self.max_num_steps < 1:
            raise SolverError(
                f"got max_num_steps={self.max_num_steps!r}, expected 1 or more; each step is "
                "counted, also the rejected ones"
            )
        if not 0 <= self.min_step <= self.max_step <= 1 or self.max_step == 0:
            raise SolverError(
                f"got min_step={self.min_step!r} and max_step={self.max_step!r}, expected "
                "0 <= min_step <= max_step <= 1 and max_step > 0; they are fractions of the "
                "elapsed time, not times"
            )

    @property
    def name(self) -> str:
        """The method, with the suffix "_adjoint" when gradients come from the adjoint."""
        return f"{self.method}_adjoint" if self.adjoint else self.method

    @property
    def order(self) -> int:
        """The order of the solution that is carried on; the error estimate has one less or more."""
        return ADAPTIVE_ORDERS[self.method]

    def step(self, system: System, state: Tensor, h: Tensor) -> Tensor:
        """Take exactly one step of length `h`, whatever its error; see `Solver.step`.

        The one step is differentiated directly, for the adjoint solvers as well.
        """
        self.check(system)
        forced = {"first_step": 1.0, "min_step": 1.0, "max_step": 1.0}
        return self._solve(system, state, h, forced, adjoint=False)

    def advance(self, system: System, state: Tensor, elapsed: Tensor, substeps: int) -> Tensor:
        """Move `state` through the time `elapsed`; `substeps` is not used, see `Solver.advance`."""
        self.check(system)
        free = {"min_step": self.min_step, "max_step": self.max_step}
        return self._solve(system, state, elapsed, free, adjoint=self.adjoint)

    def _solve(
        self,
        system: System,
        state: Tensor,
        elapsed: Tensor,
        options: dict[str, Any],
        *,
        adjoint: bool,
    ) -> Tensor:
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise SolverError(
                f"got the adaptive solver {self.name!r} under torch.jit.trace, which keeps the "
                "steps of its example for all inputs; choose one of fixed steps, such as 'rk4'"
            )
        if state.numel() == 0:  # nothing moves, and no norm is defined
            return state + elapsed * system.derivative(state)
        motion = _Motion(self, system, state.detach(), elapsed)
        scale = motion.atol + motion.rtol * motion.origin.abs()
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64, device=state.device)
        # Steps end at s = 1 (and, backwards, at s = 0) instead of being interpolated there: the
        # interpolants are of lower order than the steps.
        options = {"step_t": ends, **options}
        forward = {"norm": motion.norm, **options}
        if "first_step" not in options:
            forward["first_step"] = motion.first_step(scale, self.order)
        displacement = state - motion.origin
        settings = {"rtol": motion.rtol, "atol": scale, "method": self.method, "options": forward}
        if adjoint:
            # Without a norm of its own the adjoint takes the largest of the norm above, of state
            # and of gradient, and of the root mean squares of the parameters' gradients.
            solution = torchdiffeq.odeint_adjoint(
                motion,
                displacement,
                ends,
                adjoint_params=motion.parameters(),
                adjoint_atol=motion.atol,
                adjoint_options=options,
                **settings,
            )
        else:
            solution = torchdiffeq.odeint(motion, displacement, ends, **settings)
        end: Tensor = solution[1]
        return (motion.origin + end).to(state.dtype)


class _Motion:
    """The right-hand side given to torchdiffeq, and the watch over its steps.

    torchdiffeq asserts when it cannot go on. The callbacks below run before each step, forward
    and in the backward pass of the adjoint, and raise `SolveError` first; so no AssertionError
    has to be caught, and those of a user's own system pass through unchanged.
    """

    def __init__(
        self, solver: TorchDiffEq, system: System, origin: Tensor, elapsed: Tensor
    ) -> None:
        self.solver = solver
        self.system = system
        self.dtype = origin.dtype
        self.origin = origin.to(torch.promote_types(origin.dtype, torch.float32))
        self.elapsed = elapsed
        eps = torch.finfo(origin.dtype).eps
        self.rtol = max(solver.rtol, _RTOL_FLOOR_IN_EPS * eps)
        self.atol = max(solver.atol, _ATOL_FLOOR_IN_EPS * eps)
        self.steps = 0
        self.ratios: list[Tensor] = []  # errors of the last step in tolerances, (batch, neuron)

    def __call__(self, s: Tensor, displacement: Tensor) -> Tensor:
        return self.rate(displacement)

    def rate(self, displacement: Tensor) -> Tensor:
        """Return dx/ds = T f(origin + displacement), shape (batch, neuron)."""
        state = (self.origin + displacement).to(self.dtype)
        return self.elapsed * self.system.derivative(state).to(self.origin.dtype)

    def parameters(self) -> tuple[Tensor, ...]:
        """Return the tensors the adjoint differentiates, each once or it would count twice."""
        tensors = (*self.system.parameters(), self.elapsed)
        return tuple({id(x): x for x in tensors if x.requires_grad}.values())

    def norm(self, ratios: Tensor) -> Tensor:
        """Return the size of `ratios`, shape (batch, neuron), and keep them for a message."""
        self.ratios.append(ratios.detach())
        return _worst_sample(ratios)

    @torch.no_grad()
    def first_step(self, scale: Tensor, order: int) -> Tensor:
        """Return a first step whose local error should be a hundredth of the tolerance.

        Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", 1993, section II.4,
        with the state as its own size: torchdiffeq, which runs the same algorithm, would see a
        displacement of zero and start with tiny steps.
        """
        rest = torch.zeros_like(self.origin)
        slope = self.rate(rest)
        finite = slope.isfinite()
        if not finite.all():
            raise SolveError(self._failure(0.0, "a non-finite rate of change", _first(~finite)))
        size, speed = _worst_sample(self.origin / scale), _worst_sample(slope / scale)
        ordinary = min(size, speed) > 1e-5
        trial = 0.01 * size / speed if ordinary else torch.full_like(size, 1e-6)
        bend = _worst_sample((self.rate(rest + trial * slope) - slope) / scale) / trial
        fastest = torch.maximum(speed, bend).clamp(min=1e-15)
        step = torch.minimum(100 * trial, (0.01 / fastest) ** (1 / order))
        # The lower bound is for a trial that left the domain of f: `fastest` is infinite then.
        return torch.maximum(step, 1e-3 * trial).clamp(max=1.0)

    def callback_step(self, s: Tensor, displacement: Tensor, step: Tensor) -> None:
        """Check a forward step from `s` of length `step` before it is taken."""
        self._watch(s, step, start=0.0)
        finite = displacement.isfinite()
        if not finite.all():
            raise SolveError(self._failure(s.item(), "a non-finite potential", _first(~finite)))

    def callback_step_adjoint(self, s: Tensor, states: tuple[Tensor, ...], step: Tensor) -> None:
        """Check a step of the backward pass, which runs from s = 1 to s = 0."""
        self._watch(s, step, start=1.0)
        broken = [~x.isfinite() for x in states]
        if any(x.any() for x in broken):
            _, potential, gradient, *_ = broken  # the first is of the time, others of parameters
            got = "a non-finite gradient in the adjoint pass"
            raise SolveError(self._failure(s.item(), got, _first(potential | gradient)))

    def _watch(self, s: Tensor, step: Tensor, start: float) -> None:
        # A graph may be walked backwards more than once: each pass starts counting anew.
        self.steps = 1 if s == start else self.steps + 1
        backward = " in the adjoint pass" if start else ""
        # As torchdiffeq adds them; the adjoint runs in -s.
        before = s if start == 0.0 else -s
        if self.steps > self.solver.max_num_steps:
            got = (
                f"more than max_num_steps={self.solver.max_num_steps} steps{backward}, the next "
                f"of length {step.item():.3g}"
            )
        elif not before + step > before:
            got = f"a step length of {step.item():.3g}{backward}, too short to move the time"
        else:
            self.ratios.clear()
            return
        where = None
        if self.ratios:
            ratios = torch.stack(self.ratios).nan_to_num(nan=torch.inf).abs().amax(0)
            where = _first(ratios == ratios.max())
            got += (
                f", after one with an error of {ratios.max().item():.3g} times what "
                f"rtol={self.rtol:.3g} and atol={self.atol:.3g} allow"
            )
        raise SolveError(self._failure(s.item(), got, where))

    def _failure(self, s: float, got: str, where: tuple[int, int] | None) -> str:
        times = self.elapsed.detach().expand(len(self.origin), 1)
        sample = where[0] if where else int(times.argmax())
        who = f", sample {sample}, neuron {where[1]}" if where else ""
        whole = times[sample].item()
        return (
            f"solver {self.solver.name!r} failed at time {s * whole:.6g} of {whole:.6g}{who} "
            f"(fraction {s:.4g} of the elapsed time): got {got}; expected a system whose states "
            "and rates stay moderate; for a stiff one choose 'semi_implicit' or 'rosenbrock', or "
            "else raise the tolerances or max_num_steps"
        )


def _first(chosen: Tensor) -> tuple[int, int] | None:
    """Return sample and neuron of the first that is chosen, None if none is."""
    indices = chosen.nonzero()
    return (int(indices[0, 0]), int(indices[0, 1])) if len(indices) else None


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def _worst_sample(values: Tensor) -> Tensor:
    """Return the largest root mean square over neurons of any sample; never differentiated.

    A nan counts as infinitely large: the step is rejected and shortened, where torchdiffeq would
    make its length nan, too, and give up.
    """
    return values.square().mean(dim=-1).sqrt().nan_to_num(nan=torch.inf, posinf=torch.inf).amax()
