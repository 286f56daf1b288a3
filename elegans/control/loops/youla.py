r"""Certified circuits in a control loop that no weights of theirs can make unstable.

The parametrisation of Youla and Kučera: an observer estimates the state z of a linear plant,

.. math::
    u = -K z + Q(y - C z), \qquad z_{t+1} = A z_t + B u_t + L (y_t - C z_t)

and a circuit Q adds to the feedback what it makes of the innovations y - C z. The error x - z
follows (A - L C)^t, whatever the control: what the circuit is given does not depend on what it
answers. So the loop is a cascade of three stable systems: the error of the estimate, the circuit,
which contracts, and the plant with its feedback.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, solve_discrete_lyapunov
from torch import Tensor, nn

from elegans.arguments import checked
from elegans.control.plants import LinearPlant, Plant
from elegans.data.sequences import Array
from elegans.errors import InputError
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer
from elegans.proofs.certificates.certificate import Certificate, NotCertified
from elegans.proofs.certificates.certification import certify

SETTLING = 500
"""Steps that a circuit takes to come to rest before a loop begins."""


class LoopState(NamedTuple):
    """What the controller keeps between two steps.

    Parameters
    ----------
    estimate
        z, shape (batch, state).
    circuit
        States of the circuit, (batch, neuron).
    rest
        States of the same circuit under innovations of 0, (1, neuron).
    """

    estimate: Tensor
    circuit: Tensor
    rest: Tensor


@dataclass(frozen=True)
class LoopProof:
    """Proof that a loop with a linear plant is stable: everything in it tends to 0.

    Parameters
    ----------
    feedback, observer
        Factors by which a step shrinks the state under feedback, and the error of the estimate,
        in a quadratic norm each; checked in rational arithmetic.
    circuit
        Factor by which a step brings two states of the circuit nearer, whatever the innovations.
    certificate
        Of the circuit.
    """

    feedback: float
    observer: float
    circuit: float
    certificate: Certificate

    @property
    def factor(self) -> float:
        """The slowest of the three: distances fall at least as its powers, times a polynomial."""
        return max(self.feedback, self.observer, self.circuit)

    def __str__(self) -> str:
        return (
            f"stable with the linear plant: a step shrinks the state by {self.feedback:.4f}, the "
            f"error of the estimate by {self.observer:.4f} and what the circuit remembers by "
            f"{self.circuit:.4f} or less"
        )


@checked(InputError)
class Youla(nn.Module):
    r"""Feedback with an observer and a circuit that hears the innovations.

    .. math::
        u = -K z + s \, \big(Q(\nu) - Q(0)\big), \qquad
        \nu = \mathrm{clip}\big((y - C z) / r, -1, 1\big)

    Q(0) is the same circuit under innovations of 0, so that a plant at rest stays there. With
    `proof()`, the loop with the linear plant is stable for any weights that are certified, and any
    strength s.

    Parameters
    ----------
    plant
        The linear model that the observer has.
    circuit
        A layer of as many inputs as the plant has outputs, with a `Readout` or without one, of as
        many outputs as it has controls.
    feedback, observer
        K (control, state) and L (state, output), such as ``plant.feedback(...)`` and
        ``plant.observer(...)``.
    ranges
        r, the innovations, in units of the outputs, that the circuit is given as 1.
    strength
        s, the controls that an output of 1 stands for.
    elapsed
        Time that a step of the circuit lasts.

    Raises
    ------
    InputError
        Sizes do not fit together, or A - B K or A - L C is not stable.

    References
    ----------
    Youla, Jabr, Bongiorno, "Modern Wiener-Hopf design of optimal controllers", IEEE TAC 21 (1976).
    Wang, Manchester, "Youla-REN: learning nonlinear feedback policies with robust stability
    guarantees", ACC 2022.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> plant = LinearPlant([[1, 0.1], [0.1, 1]], [[0], [0.1]], [[1, 0]])
    >>> K, L = plant.feedback([1, 1], [1]), plant.observer([1, 1], [1])
    >>> drawn = torch.Generator().manual_seed(1)
    >>> circuit = elegans.LTC(1, AutoNCP(12, 1, sparsity_level=0.8, seed=1), generator=drawn)
    >>> controller = Youla(plant, circuit, K, L, strength=100.0)
    >>> bool(controller.proof())
    True
    >>> controller.reset(batch=1)
    >>> state = np.array([[0.5, 0.0]])
    >>> for _ in range(300):
    ...     state = state @ plant.dynamics.T + controller(state[:, :1]) @ plant.control.T
    >>> bool(np.abs(state).max() < 1e-3)
    True
    """

    def __init__(
        self,
        plant: LinearPlant,
        circuit: SequenceLayer | Readout,
        feedback: ArrayLike,
        observer: ArrayLike,
        *,
        ranges: ArrayLike = 1.0,
        strength: ArrayLike = 1.0,
        elapsed: float = 1.0,
    ) -> None:
        super().__init__()
        states, controls, outputs = plant.sizes
        sizes = circuit.input_size, circuit.output_size
        if sizes != (outputs, controls) or circuit_of(circuit).memory is not None:
            raise InputError(
                f"got a circuit of {sizes[0]} inputs and {sizes[1]} outputs, expected {outputs} "
                f"and {controls} as the plant has, without mixed memory"
            )
        self.plant, self.circuit, self.elapsed = plant, circuit, float(elapsed)
        like = next(circuit.parameters())
        given = {
            "feedback": (feedback, (controls, states)),
            "observer": (observer, (states, outputs)),
            "ranges": (ranges, (outputs,)),
            "strength": (strength, (controls,)),
        }
        for name, (values, shape) in given.items():
            array = np.asarray(values, np.float64)
            with suppress(ValueError):  # one number for all; what has another shape keeps it
                array = np.broadcast_to(array, shape) if array.ndim < 2 else array
            if array.shape != shape or not np.isfinite(array).all():
                raise InputError(
                    f"got {name} of shape {np.shape(values)}, expected finite numbers of the shape "
                    f"{shape}; check the sizes of the plant"
                )
            self.register_buffer(name, torch.tensor(array.tolist(), dtype=like.dtype))
        if not bool((self.get_buffer("ranges") > 0).all()):
            raise InputError("got ranges that are not positive, expected numbers above 0")
        for name in ("dynamics", "control", "output"):
            self.register_buffer(name, torch.tensor(getattr(plant, name), dtype=like.dtype))
        self._factors = (
            shrinking(plant.dynamics - plant.control @ self.exact("feedback"), "A - B K"),
            shrinking(plant.dynamics - self.exact("observer") @ plant.output, "A - L C"),
        )
        self._memory: LoopState | None = None

    def exact(self, name: str) -> Array:
        """Return one of the matrices as it is used, in double precision."""
        matrix: Array = self.get_buffer(name).double().cpu().numpy()
        return matrix

    # --- one step ------------------------------------------------------------------------

    def begin(self, batch: int) -> LoopState:
        """Return the memory before the first step: an estimate of 0, a circuit at rest."""
        layer = circuit_of(self.circuit)
        like = self.get_buffer("dynamics")
        with torch.no_grad():
            still = like.new_zeros(SETTLING, layer.input_size)
            rest = layer(still, None, like.new_full((SETTLING,), self.elapsed))[1].unsqueeze(0)
        return LoopState(like.new_zeros(batch, len(like)), rest.expand(batch, -1), rest)

    def step(self, outputs: Tensor, memory: LoopState) -> tuple[Tensor, LoopState]:
        """Return the controls (batch, control) for outputs (batch, output), and the memory after.

        Differentiable, so that a loop of steps can be trained through a plant that is.
        """
        estimate, circuit, rest = memory
        buffer = self.get_buffer
        innovation = outputs - estimate @ buffer("output").t()
        heard = self._heard(outputs, innovation)
        both = torch.cat([heard, torch.zeros_like(heard[:1])])
        answers, states = self._advance(both, torch.cat([circuit, rest]))
        correction = buffer("strength") * (answers[:-1] - answers[-1:])
        controls = correction - estimate @ buffer("feedback").t()
        estimate = (
            estimate @ buffer("dynamics").t()
            + controls @ buffer("control").t()
            + innovation @ buffer("observer").t()
        )
        return controls, LoopState(estimate, states[:-1], states[-1:])

    def _heard(self, outputs: Tensor, innovation: Tensor) -> Tensor:
        """Return what the circuit is given, (batch, output)."""
        heard: Tensor = (innovation / self.get_buffer("ranges")).clamp(-1.0, 1.0)
        return heard

    def _advance(self, heard: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        layer = circuit_of(self.circuit)
        answers, states = layer.cell(heard, states, self.elapsed)
        head: Any = self.circuit.head if isinstance(self.circuit, Readout) else None
        return (answers if head is None else head(states)), states

    # --- a controller; see elegans.control.Controller -----------------------------

    def reset(self, batch: int = 1) -> None:
        """Forget everything and prepare for `batch` episodes."""
        self._memory = self.begin(batch)

    @torch.no_grad()
    def forward(self, observations: Any) -> NDArray[Any]:
        """Return the controls (batch, control) for measured outputs (batch, output)."""
        given = torch.as_tensor(np.asarray(observations), dtype=self.get_buffer("dynamics").dtype)
        if given.dim() != 2 or given.shape[1] != self.plant.sizes[2]:
            raise InputError(
                f"got observations of shape {tuple(given.shape)}, expected (batch, "
                f"{self.plant.sizes[2]}), the outputs of the plant"
            )
        if self._memory is None or len(self._memory.estimate) != len(given):
            self._memory = self.begin(len(given))
        controls, self._memory = self.step(given, self._memory)
        return np.asarray(controls.numpy())

    # --- the proof -----------------------------------------------------------------------

    def proof(self, level: str = "interval") -> LoopProof | NotCertified:
        """Prove that the loop with the linear plant is stable, or say why the circuit is not fit.

        The innovations do not depend on the circuit, and tend to 0 with the error of the estimate.
        The circuit contracts for all inputs within its clip, so that its states tend to those under
        innovations of 0, and the correction to 0; the plant under feedback follows.
        """
        found = certify(
            circuit_of(self.circuit), (-1.0, 1.0), level, elapsed=self.elapsed, advice=False
        )
        if isinstance(found, NotCertified):
            return found
        if not isinstance(found, Certificate):
            return NotCertified(
                "the circuit is bounded in double precision alone, expected one whose certificate "
                "can be checked; take elegans.LTC",
                level,
            )
        if found.step is None:
            return NotCertified(
                "nothing is proved of the step of the circuit's solver; take 'semi_implicit'", level
            )
        factor = found.step.kappa**found.step.unfolds
        return LoopProof(*self._factors, factor, found)


def simulate(
    controller: Youla,
    plant: Plant,
    starts: Tensor,
    steps: int,
    *,
    most: float = 100.0,
    through_plant: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return states (step + 1, batch, state) and controls (step, batch, control) of the loop.

    Differentiable: a controller can be trained through it. An episode in which a state is larger
    than `most` is over: its states stay as they are.

    With ``through_plant=False`` states and estimates are without gradients, and only what the
    circuit answers to what it has heard has some: to imitate a teacher, compare the controls with
    the teacher's at ``states[:-1]``, the states that the pupil leads to (DAgger).

    References
    ----------
    Ross, Gordon, Bagnell, "A reduction of imitation learning and structured prediction to no-regret
    online learning", AISTATS 2011.

    Examples
    --------
    >>> import elegans
    >>> from elegans.control import pendulum
    >>> plant = pendulum()
    >>> K, L = plant.linear.feedback([1, 1], [1]), plant.linear.observer([1, 1], [0.1])
    >>> controller = Youla(plant.linear, elegans.LTC(1, elegans.wiring.AutoNCP(8, 1)), K, L)
    >>> states, controls = simulate(controller, plant, torch.full((3, 2), 0.1), 400)
    >>> states.shape, controls.shape, bool(states[-1].abs().max() < 1e-2)
    (torch.Size([401, 3, 2]), torch.Size([400, 3, 1]), True)
    """
    states, controls, memory = [starts], [], controller.begin(len(starts))
    for _ in range(steps):
        control, memory = controller.step(plant.measure(states[-1]), memory)
        controls.append(control)
        if not through_plant:
            control, memory = control.detach(), memory._replace(estimate=memory.estimate.detach())
        goes_on = states[-1].abs().amax(-1, keepdim=True) <= most
        states.append(torch.where(goes_on, plant.advance(states[-1], control), states[-1]))
    return torch.stack(states), torch.stack(controls)


def shrinking(matrix: Array, name: str) -> float:
    """Return a factor by which a matrix shrinks a quadratic norm; see `quadratic_norm`.

    Raises
    ------
    InputError
        No such norm was found: the matrix has an eigenvalue of about 1 or more.
    """
    found = quadratic_norm(matrix)
    if found is None:
        radius = float(np.abs(np.linalg.eigvals(matrix)).max())
        raise InputError(
            f"got {name} with an eigenvalue of size {radius:.6g}, expected all below 1; choose "
            "another feedback or observer, such as plant.feedback(...) and plant.observer(...)"
        )
    return found[1]


def quadratic_norm(matrix: Array) -> tuple[Array, float] | None:
    """Return P and a factor f < 1 with M' P M <= f² P, checked in rational numbers; None if none.

    Examples
    --------
    >>> norm, factor = quadratic_norm(np.array([[0.5, 3.0], [0.0, 0.5]]))
    >>> round(factor, 3)
    0.55
    """
    radius = float(np.abs(np.linalg.eigvals(matrix)).max())
    factor = radius + 0.1 * (1 - radius)
    if not factor < 1:
        return None
    try:
        norm = solve_discrete_lyapunov((matrix / factor).T, np.eye(len(matrix)))
    except LinAlgError:
        return None
    norm = 0.5 * (norm + norm.T)
    proved = _is_positive(_rational(norm)) and _is_positive(_decrease(matrix, norm, factor))
    return (norm, factor) if proved else None


def _rational(matrix: Array) -> list[list[Fraction]]:
    return [[Fraction(float(value)) for value in row] for row in matrix]


def _decrease(matrix: Array, norm: Array, factor: float) -> list[list[Fraction]]:
    """Return factor² P - M' P M, exactly."""
    m, p, f = _rational(matrix), _rational(norm), Fraction(factor) ** 2
    n = range(len(m))
    pm = [[sum((p[i][k] * m[k][j] for k in n), Fraction(0)) for j in n] for i in n]
    return [[f * p[i][j] - sum((m[k][i] * pm[k][j] for k in n), Fraction(0)) for j in n] for i in n]


def _is_positive(matrix: list[list[Fraction]]) -> bool:
    """Whether a symmetric matrix is positive definite: all pivots of its elimination are."""
    rows = [row[:] for row in matrix]
    for k, pivot in enumerate(rows):
        if pivot[k] <= 0:
            return False
        for row in rows[k + 1 :]:
            share = row[k] / pivot[k]
            for j in range(k, len(rows)):
                row[j] -= share * pivot[j]
    return True
