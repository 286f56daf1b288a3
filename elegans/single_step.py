"""One step of a cell on its own, with the checks that a layer makes for a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from elegans.cell import Cell
from elegans.checks import as_computed, check_elapsed, check_finite
from elegans.errors import InputError


def single_step(
    cell: Cell, inputs: Tensor, states: Tensor, elapsed_time: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Return output (batch, output) and state (batch, neuron) after one step.

    Parameters
    ----------
    cell
        Takes the step.
    inputs
        Shape (batch, input).
    states
        Shape (batch, neuron).
    elapsed_time
        Time since the last step: a number, or shape (batch,) or (batch, 1).

    Raises
    ------
    InputError
        A shape, type or value is not valid.
    SolveError
        An adaptive solver failed.
    """
    x = as_computed("inputs", inputs, cell.dtype)
    state = as_computed("states", states, cell.dtype)
    for name, value, size in (("inputs", x, cell.sensory_size), ("states", state, cell.state_size)):
        if value.dim() != 2 or value.shape[1] != size:
            raise InputError(
                f"{name} has shape {tuple(value.shape)}, expected (batch, {size}); add an axis "
                "for a single sample with unsqueeze(0)"
            )
    if len(x) != len(state):
        raise InputError(f"got {len(x)} inputs and {len(state)} states, expected one state each")
    elapsed = torch.as_tensor(elapsed_time, dtype=x.dtype, device=x.device)
    if tuple(elapsed.shape) not in ((), (len(x),), (len(x), 1)):
        raise InputError(
            f"elapsed_time must be a number or one a sample, shape ({len(x)},), got shape "
            f"{tuple(elapsed.shape)}"
        )
    elapsed = elapsed.expand(len(x)) if elapsed.dim() == 0 else elapsed.reshape(len(x))
    check_finite("inputs", x, ("batch", "feature"))
    check_elapsed("elapsed_time", elapsed, ("batch",))
    after = cell.step(cell.sense(x.unsqueeze(1)), 0, state, elapsed.unsqueeze(1))
    return cell.read(after), after
