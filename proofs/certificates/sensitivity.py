r"""A pruning criterion by the sensitivity of certified rates to conductances.

Cutting a synapse of conductance w changes the rate of its component, to first order, by

.. math:: - w \, \frac{\partial \lambda^*}{\partial w}
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.proofs.certificates.network import Network, Range, liquid_cell
from elegans.proofs.certificates.region import require_level
from elegans.proofs.certificates.regulariser import contraction_rates
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart


class CertificateSensitivity:
    r"""Scores synapses by what they are worth to a certificate; for `elegans.pruning.Pruner`.

    The score of a synapse is :math:`w \, \partial (\sum_c \lambda^*_c) / \partial w`, with the
    rates of all strongly connected components: the lowest, which hold the rates down most, are cut
    first. The gradient is that of `contraction_rates`, the box of states held fixed.

    Parameters
    ----------
    model
        A layer without mixed memory, or its cell.
    inputs
        Lowest and highest input, as in `elegans.proofs.certify`.
    level
        As in `elegans.proofs.certify`; ``"float"`` and ``"interval"`` are the same here.

    Raises
    ------
    InputError
        As `elegans.proofs.certify`.
    PruningError
        When asked for a part that is no set of synapses of this circuit.

    Examples
    --------
    >>> from elegans import LTC
    >>> from elegans.pruning import Pruner
    >>> from elegans.wiring import AutoNCP
    >>> model = LTC(2, AutoNCP(units=12, output_size=1, seed=3))
    >>> before = float(contraction_rates(model, (-1, 1)).detach().min())
    >>> pruner = Pruner(model, criterion=CertificateSensitivity(model, (-1, 1)), scope="global")
    >>> _ = pruner.prune(0.2)
    >>> float(contraction_rates(model, (-1, 1)).detach().min()) > before
    True
    """

    def __init__(self, model: nn.Module, inputs: Range, *, level: str = "interval") -> None:
        require_level(level)
        self.cell = liquid_cell(model)
        self.inputs = inputs
        self.level = level
        Network.of(self.cell).range_of(inputs)  # a wrong range is an error now, not when pruning

    def __call__(self, part: PrunableWeight) -> Tensor:
        """Return the scores of the synapses of a part, shape (synapse,)."""
        if not isinstance(part, SynapsePart) or part.cell is not self.cell:
            raise PruningError(
                f"{part.name} is no set of synapses of the circuit that this criterion was made "
                "for; exclude it, or make the criterion with the circuit that is pruned"
            )
        with torch.enable_grad():
            rates = contraction_rates(self.cell, self.inputs, level=self.level)
            (gradient,) = torch.autograd.grad(
                rates.sum(), part.parameter, allow_unused=True, materialize_grads=True
            )
        return part.weights() * part.slopes(gradient)
