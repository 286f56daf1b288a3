"""All steps of a sequence at once, by Newton's method."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from elegans.arguments import checked
from elegans.capacity import require_bytes
from elegans.errors import InputError, SolveError
from elegans.parallel.sequences import InTime, Model
from elegans.solvers.parallel import solve


@checked(InputError)
class NewtonInTime(InTime):
    r"""A layer that is solved for the states of all steps at once; nothing of it needs a proof.

    .. math::
        x_t = F(x_{t-1}, u_t), \qquad
        \delta_t = F'(x_{t-1}) \, \delta_{t-1} + F(x_{t-1}, u_t) - x_t

    Each round costs a step, its Jacobian and products of neuron by neuron matrices for every time,
    all of them at once; a few rounds do for circuits that forget. Gradients are those of the
    solution. On a CPU the loop over time is faster as a rule; where rounds do not converge, it is
    what runs.

    Parameters
    ----------
    model
        A layer without mixed memory, with a `Readout` or without one.
    tolerance
        Largest residual that is accepted, > 0, of abs(F(x) - x) in potentials.

    Examples
    --------
    >>> import elegans
    >>> model = elegans.CTRNN(2, 6, generator=torch.Generator().manual_seed(0))
    >>> x = torch.sin(torch.arange(400.0)).reshape(1, 200, 2)
    >>> run = NewtonInTime(model)(x)
    >>> torch.allclose(run.output, model(x)[0], atol=1e-5), run.bound < 1e-5, run.proved
    (True, True, False)
    """

    def __init__(self, model: Model, tolerance: float = 1e-5) -> None:
        super().__init__(model)
        if not tolerance > 0:
            raise InputError(f"got tolerance = {tolerance!r}, expected a number above 0")
        self.tolerance = tolerance

    def _states(self, x: Tensor, first: Tensor, elapsed: Tensor) -> tuple[Tensor, float, bool]:
        batch, time = x.shape[:2]
        if not batch or not time:
            return self._run(x, first, elapsed), 0.0, True
        cell, units = self.layer.cell, self.layer.state_size
        require_bytes(
            3 * batch * time * units**2 * x.element_size(),
            f"the Jacobians of {time} steps of {units} neurons, {batch} at a time,",
            "run fewer sequences at a time, or call the layer itself",
        )
        # Values of parameters and buffers are arguments of the step: gradients flow to them.
        names, values = zip(*cell.named_parameters(), strict=True)

        def step(state: Tensor, lasting: Tensor, given: Tensor, *parameters: Tensor) -> Tensor:
            told = dict(zip(names, parameters, strict=True))
            after: Tensor = functional_call(cell, told, (given, state, lasting.squeeze(-1)))[1]
            return after

        states = solve(step, first, elapsed, [x], values, coupled=True)
        with torch.no_grad():
            before = torch.cat([first.unsqueeze(1), states[:, :-1]], dim=1).flatten(0, 1)
            after = step(before, elapsed.reshape(-1, 1), x.flatten(0, 1), *values)
            residual = float((after - states.flatten(0, 1)).abs().max())
        if not residual <= self.tolerance:
            raise SolveError(
                f"got states that miss a step by {residual:.3g}, expected at most the tolerance of "
                f"{self.tolerance:g}; ask for less, compute in float64, or call the layer itself"
            )
        return states, residual, False
