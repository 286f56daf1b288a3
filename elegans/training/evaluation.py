"""Errors of a circuit: over windows while it learns, and over sequences in the user's units."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.data import Scales, Sequence, Windows
from elegans.errors import DataError
from elegans.layers.sequence_layer import SequenceLayer


@dataclass(frozen=True)
class WindowTensors:
    """Windows as tensors on one device.

    Parameters
    ----------
    inputs, targets
        Shapes (window, time, input) and (window, time, output).
    elapsed
        Shape (window, time).
    """

    inputs: Tensor
    targets: Tensor
    elapsed: Tensor

    @classmethod
    def of(cls, windows: Windows, like: Tensor) -> WindowTensors:
        """Return `windows` in the type and on the device of `like`."""
        arrays = (windows.inputs, windows.targets, windows.elapsed)
        return cls(*(torch.from_numpy(array).to(like) for array in arrays))

    def __len__(self) -> int:
        return len(self.inputs)

    def loss(self, model: SequenceLayer, which: Tensor) -> Tensor:
        """Return the mean squared error over the windows `which`."""
        output, _ = model(self.inputs[which], None, self.elapsed[which])
        error: Tensor = output - self.targets[which]
        return error.square().mean()


@torch.no_grad()
def predict(
    model: SequenceLayer, sequences: SequenceOf[Sequence], scales: Scales
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


def squared_errors(
    model: SequenceLayer, sequences: SequenceOf[Sequence], scales: Scales
) -> NDArray[np.float64]:
    """Return the mean squared error of each target over all steps, shape (output,).

    The unit is that of the target, squared.

    Raises
    ------
    DataError
        There are no sequences, or their columns are not as many as the layer's.
    """
    if not sequences:
        raise DataError("got no sequences, expected at least one; check the file")
    sizes = sequences[0].inputs.shape[1], sequences[0].targets.shape[1]
    if sizes != (model.input_size, model.output_size):
        raise DataError(
            f"got sequences of {sizes[0]} inputs and {sizes[1]} targets, expected "
            f"{model.input_size} and {model.output_size} as the circuit has; choose the columns "
            "that it was trained on"
        )
    return mean_squared_errors(predict(model, sequences, scales), sequences)


def mean_squared_errors(
    answers: SequenceOf[NDArray[np.float64]], sequences: SequenceOf[Sequence]
) -> NDArray[np.float64]:
    """Return the mean squared error of answers (time, output), over all steps, shape (output,)."""
    errors = [
        (answer - sequence.targets) ** 2
        for answer, sequence in zip(answers, sequences, strict=True)
    ]
    mean: NDArray[np.float64] = np.concatenate(errors).mean(axis=0)
    return mean
