"""Prune-and-rewire: weak synapses are cut and grow elsewhere during training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from elegans.errors import PruningError
from elegans.pruning.amount.thresholds import Threshold, as_threshold
from elegans.pruning.criteria.magnitude import Closure
from elegans.pruning.growing.exchange import any_room
from elegans.pruning.growing.rules import GrowthRule
from elegans.pruning.ledger import REWIRED, Edit, Guard, Ledger
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart
from elegans.pruning.pruner import Pruner
from elegans.pruning.settings import rng_of


class PruneRewire(Pruner):
    """Cuts weak synapses and lets their sources grow new ones, every few optimiser steps.

    A `Pruner` that exchanges weights and never changes their number. For each existing synapse
    j -> i that the threshold calls weak, weakest first: cut it and insert a synapse from the same
    source j to another neuron of the layer of i, one that j does not reach and has not just lost.
    A liquid synapse is the tuple (conductance, centre, gain, reversal potential, polarity) and is
    replaced as a whole; the optimiser's memory of its slot is zeroed. The number of synapses of
    every block (source layer, target layer) is conserved, no target loses its last input, no source
    its last output. A weak synapse that cannot move is kept, and the ledger says why. Sets of
    synapses whose weights do not require gradients are left alone.

    In a model without synapses, the entries of masked weight matrices are exchanged.

    Adam counts steps per parameter, not per synapse: the first updates of a fresh synapse are
    not bias-corrected and up to about three times as large as the learning rate.

    Parameters
    ----------
    model
        A layer such as `elegans.LTC`, or a module that holds some. The topology is live:
        ``model.wiring``, counts and drawings follow.
    optimizer
        Holds the model's parameters, in any groups: one of PyTorch's that keep their memory weight
        by weight, or see `optimizer_state_names`.
    threshold
        A strength (a number), `Absolute`, `Relative` to the median strength, or a `CosineFraction`
        of all synapses. The strength of a liquid synapse is its conductance, of a CT-RNN's the
        magnitude of its weight, of a wired CfC's the norm of its weights.
    every
        Edit once in so many calls of `step`.
    until
        Last step at which synapses are edited; no limit by default.
    growth
        ``"random"``: a legal target and a polarity at random. ``"gradient"``: the target and
        polarity whose strength would lower the loss fastest; `step` then needs a closure. Or a
        `GrowthRule`.
    weight
        Strength of a fresh synapse.
    excitatory
        Probability that a fresh synapse is excitatory, under random growth.
    self_synapses
        Whether a neuron may grow a synapse onto itself. Off by default: self-synapses weaken what
        can be proven of a circuit.
    guards
        Called with each `ProposedEdit` before it happens; see `add_guard`.
    include, exclude
        Names of weights or modules, with wildcards, that are rewired, or are not.
    optimizer_state_names
        Names of the per-weight state tensors of an optimiser of another kind.
    seed
        Seed of all random choices. Replicas with equal weights and seeds make equal edits.

    Raises
    ------
    PruningError
        There is nothing to rewire, no synapse could move, a parameter is computed from others
        (parametrize), the optimiser is of an unknown kind or does not hold the parameters, or an
        argument is not valid.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the lottery: making all tickets winners", ICML
    2020, for growth by gradient and the cosine schedule; Mocanu et al., "Scalable training of
    artificial neural networks with adaptive sparse connectivity", Nature Communications 9:2383
    (2018), for random growth.

    Examples
    --------
    >>> import torch, elegans
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(8, AutoNCP(units=19, output_size=4))
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    >>> rewirer = elegans.PruneRewire(model, optimizer, threshold=1e-2, every=50)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     loss = model(torch.randn(4, 5, 8))[0].square().mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     edits = rewirer.step()
    >>> rewirer.steps, model.synapse_count
    (100, 45)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        threshold: float | Threshold = 1e-2,
        every: int = 50,
        *,
        until: int | None = None,
        growth: str | GrowthRule = "random",
        weight: float = 0.05,
        excitatory: float = 0.5,
        self_synapses: bool = False,
        guards: Sequence[Guard] = (),
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        optimizer_state_names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            model,
            optimizer,
            growth=growth,
            drop_fraction=as_threshold(threshold),
            every=every,
            until=until,
            weight=weight,
            excitatory=excitatory,
            self_synapses=self_synapses,
            guards=guards,
            include=include,
            exclude=exclude,
            list_edits="all",
            optimizer_state_names=optimizer_state_names,
            seed=seed,
        )
        if not any_room(self.parts, self_synapses=self_synapses):
            if not any(isinstance(part, SynapsePart) for part in self.parts):
                raise PruningError(
                    f"{type(model).__name__} holds no synapses, and its weight matrices are full, "
                    "so nothing can move; pass a layer such as elegans.LTC, or prune weights first"
                )
            raise PruningError(
                "every synapse that could grow exists already, so none can move; take a sparser "
                "wiring such as AutoNCP, Random or Layered"
            )

    def _chosen(self, parts: list[PrunableWeight]) -> list[PrunableWeight]:
        return [part for part in parts if isinstance(part, SynapsePart)] or parts

    def step(self, closure: Closure | None = None) -> list[Edit]:  # type: ignore[override]
        """Count one optimiser step and, when it is time, rewire.

        Parameters
        ----------
        closure
            Returns the loss of the current batch, differentiable; for growth rules that look at
            gradients, and called only when synapses are edited.

        Returns
        -------
        list of Edit
            The synapses rewired now; empty, hence false, when there were none. Those kept are
            in `ledger` only.

        Raises
        ------
        PruningError
            The growth rule needs the loss and there is none to differentiate, a weight is not
            finite, or the optimiser no longer holds the parameters. Nothing is edited then. When a
            guard raises, the edits made before stay, in the circuit and in the ledger.
        """
        first = len(self.ledger)
        super().step(closure)
        return [edit for edit in self.ledger[first:] if edit.outcome == REWIRED]

    def state_dict(self) -> dict[str, Any]:
        """Return step, random state, ledger, counts and settings as plain values."""
        state = super().state_dict()
        return {
            "steps": state["steps"],
            "random": state["growing"],
            "settings": state["settings"],
            "ledger": state["ledger"],
            "counts": state["counts"],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; model and optimiser are restored by their own.

        Raises
        ------
        PruningError
            It is no such state, or of a rewirer with other settings; nothing is changed then.
        """
        try:
            steps, settings = int(state["steps"]), dict(state["settings"])
            rng, ledger = rng_of(state["random"]), Ledger.from_state(state)
            if steps < 0:
                raise ValueError(f"steps={steps}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PruningError(
                f"not a state of PruneRewire ({error!r}); pass what state_dict() returned"
            ) from error
        mine = self._described()
        if settings != mine:
            differ = {k: (settings.get(k), v) for k, v in mine.items() if settings.get(k) != v}
            raise PruningError(
                f"the state was saved with other settings (saved, here): {differ}; make the "
                "rewirer with those it was saved with"
            )
        self.steps, self._rng, self._ledger = steps, rng, ledger
