"""The layers of ``ncps.torch`` under its names: ``from elegans.torch import CfC, LTC``.

They are those of `elegans`, with the order of arguments and the meaning that ``ncps`` gives them
where the two differ; docs/from-ncps.md lists the differences.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

import elegans
from elegans import LTC, LTCCell
from elegans.layers.cell import as_wiring
from elegans.wiring import Recipe, Wiring
from elegans.wiring.wiring import MOTOR

__all__ = ["LTC", "CfC", "CfCCell", "LTCCell", "WiredCfCCell"]


class CfC(elegans.CfC):
    """`elegans.CfC` that reads on a wiring what ``ncps`` reads.

    There a wiring decides on the synapses between its layers, and inside a layer all neurons are
    connected (`ncps_connections`); a wiring without layers, such as `FullyConnected`, has all its
    neurons as outputs, whatever its ``output_dim`` is, which a warning says.

    Parameters
    ----------
    input_size, units, **options
        As in `elegans.CfC`; ``ncps_connections=False`` builds what that builds.

    Raises
    ------
    InputError, WiringError
        As in `elegans.CfC`.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wirings import AutoNCP
    >>> CfC(8, AutoNCP(28, 4)).synapse_count, elegans.CfC(8, AutoNCP(28, 4)).synapse_count
    (399, 112)
    """

    saved_as: ClassVar[type] = elegans.CfC
    """Its settings say all that is different, so this class builds it when it is loaded."""

    def __init__(
        self,
        input_size: int,
        units: int | Recipe | Wiring,
        *arguments: Any,
        ncps_connections: bool = True,
        **options: Any,
    ) -> None:
        is_dense = isinstance(units, int | np.integer)
        if not is_dense and ncps_connections and options.get("add_connections", True):
            units = _as_ncps_reads(as_wiring(units, input_size))
        connections = ncps_connections and not is_dense
        super().__init__(input_size, units, *arguments, ncps_connections=connections, **options)


def _as_ncps_reads(wiring: Wiring) -> Wiring:
    """Return the wiring with all neurons as outputs, if it has no layers."""
    if wiring.num_layers > 1 or wiring.output_size == wiring.units:
        return wiring
    if wiring.has_outputs_elsewhere:  # which no wiring of ncps has
        return wiring
    warnings.warn(
        f"as in ncps all {wiring.units} neurons of a wiring without layers are outputs of a CfC, "
        f"not the {wiring.output_size} that the wiring names; elegans.CfC reads those",
        stacklevel=3,
    )
    parts = wiring.recurrent, wiring.sensory
    return Wiring(wiring.input_size, {MOTOR: wiring.units}, *parts, electrical=wiring.electrical)


class CfCCell(elegans.CfCCell):
    """`elegans.CfCCell`, called as in ``ncps``: ``cell(input, hx, ts)``.

    Examples
    --------
    >>> import torch
    >>> output, state = CfCCell(8, 19)(input=torch.zeros(2, 8), hx=torch.zeros(2, 19), ts=1.0)
    >>> output.shape
    torch.Size([2, 19])
    """

    def forward(self, input: Tensor, hx: Tensor, ts: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
        """Take one step; see `elegans.layers.cell.Cell.forward`."""
        return super().forward(input, hx, ts)


class WiredCfCCell(elegans.WiredCfCCell):
    """`elegans.WiredCfCCell` made and called as in ``ncps``, with its connections.

    Parameters
    ----------
    input_size
        Number of inputs; None for a wiring that is built.
    wiring, mode, **options
        As in `elegans.WiredCfCCell`.

    Raises
    ------
    InputError, WiringError
        As in `elegans.WiredCfCCell`.

    Examples
    --------
    >>> import torch
    >>> from elegans.wirings import AutoNCP
    >>> cell = WiredCfCCell(8, AutoNCP(19, 4))
    >>> cell(torch.zeros(2, 8), torch.zeros(2, 19), timespans=0.5)[0].shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int | None,
        wiring: Recipe | Wiring,
        mode: str = "default",
        *,
        ncps_connections: bool = True,
        **options: Any,
    ) -> None:
        if ncps_connections and options.get("add_connections", True):
            wiring = _as_ncps_reads(as_wiring(wiring, input_size))
        super().__init__(wiring, input_size, mode, ncps_connections=ncps_connections, **options)

    @property
    def num_layers(self) -> int:
        """Number of layers that are updated one after another."""
        return self.wiring.num_layers

    def forward(
        self, input: Tensor, hx: Tensor, timespans: float | Tensor = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Take one step; see `elegans.layers.cell.Cell.forward`."""
        return super().forward(input, hx, timespans)
