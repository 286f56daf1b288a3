"""Windows as tensors, and the loss over them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from elegans.data import Windows
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
