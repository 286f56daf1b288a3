"""Errors of a circuit: over windows while it learns, and over sequences in the user's units."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.arguments import checked
from elegans.data import Scales, Sequence, Windows
from elegans.errors import InputError
from elegans.layers.readout import Readout
from elegans.layers.sequence_layer import SequenceLayer
from elegans.training.losses import mean_loss


@dataclass(frozen=True)
class WindowTensors:
    """Windows as tensors on one device.

    Parameters
    ----------
    inputs, targets
        Shapes (window, time, input) and (window, time, output).
    elapsed
        Shape (window, time).
    kind
        The loss, see `mean_loss`.
    weights
        Of the classes, (output,), or None.
    """

    inputs: Tensor
    targets: Tensor
    elapsed: Tensor
    kind: str = "mse"
    weights: Tensor | None = None

    @classmethod
    def of(cls, windows: Windows, like: Tensor, kind: str = "mse") -> WindowTensors:
        """Return `windows` in the type and on the device of `like`."""
        arrays = (windows.inputs, windows.targets, windows.elapsed)
        inputs, targets, elapsed = (torch.from_numpy(array).to(like) for array in arrays)
        return cls(inputs, targets, elapsed, kind)

    def balanced(self) -> WindowTensors:
        """Return the windows with weights of the classes: steps over classes times their steps."""
        counts = self.targets.nan_to_num().flatten(0, -2).sum(0)
        weights = counts.sum() / (len(counts) * counts.clamp(min=1.0))
        return replace(self, weights=weights)

    @cached_property
    def is_known(self) -> Tensor:
        """Whether the target of each step is known, (window, time)."""
        return ~torch.isnan(self.targets).any(-1)

    @cached_property
    def is_complete(self) -> bool:
        """Whether all targets are known."""
        return bool(self.is_known.all())

    def __len__(self) -> int:
        return len(self.inputs)

    def loss(self, model: SequenceLayer | Readout, which: Tensor) -> Tensor:
        """Return the mean loss over the windows `which`."""
        output, _ = model(self.inputs[which], None, self.elapsed[which])
        if self.kind == "mse" and self.is_complete:  # the usual case, in fewer operations
            error: Tensor = output - self.targets[which]
            return error.square().mean()
        return mean_loss(self.kind, output, self.targets[which], self.weights)

    def count(self, which: Tensor) -> int:
        """Return how much the loss of the windows `which` counts beside that of others."""
        return len(which) if self.is_complete else int(self.is_known[which].sum())


@checked(InputError)
@torch.no_grad()
def predict(
    model: SequenceLayer | Readout, sequences: SequenceOf[Sequence], scales: Scales
) -> list[NDArray[np.float64]]:
    """Return what the circuit answers to whole sequences, each run from the zero state.

    Parameters
    ----------
    model
        The layer.
    sequences
        In the units of the user's data; their targets have no part in it.
    scales
        Those that the circuit was trained with.

    Returns
    -------
    list of ndarray
        For each sequence an array (time, output), in the units of the targets.
    """
    like = next(model.parameters())
    answers = []
    for sequence in sequences:
        x = torch.from_numpy(scales.inputs.apply(sequence.inputs)).to(like)
        elapsed = torch.from_numpy(sequence.elapsed / scales.elapsed).to(like)
        output, _ = model(x, None, elapsed)
        answers.append(scales.targets.invert(output.cpu().double().numpy()))
    return answers
