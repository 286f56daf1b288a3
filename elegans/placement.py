"""Where tensors live and in which precision: the pair of arguments every module takes."""

from __future__ import annotations

from typing import TypedDict

import torch

Device = torch.device | str | None


class Placement(TypedDict, total=False):
    """The keyword arguments ``device`` and ``dtype`` of tensor constructors."""

    device: Device
    dtype: torch.dtype | None
