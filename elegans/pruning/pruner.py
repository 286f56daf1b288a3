"""The engine: cuts weights of any model while it learns, and lets others grow in their place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from elegans.arguments import checked
from elegans.checks import check_whole
from elegans.errors import PruningError
from elegans.pruning.amount.schedules import Schedule, Sparsity, check_sparsity, check_step
from elegans.pruning.amount.scopes import Scope, as_scope, select, spread
from elegans.pruning.amount.thresholds import Threshold
from elegans.pruning.averages import prepare, restart
from elegans.pruning.criteria import as_criterion
from elegans.pruning.criteria.magnitude import Closure, Criterion, ScoringContext
from elegans.pruning.cutting import check_not_empty, cut
from elegans.pruning.growing.exchange import rounds_of
from elegans.pruning.growing.fresh import Fresh
from elegans.pruning.growing.legality import Freedom
from elegans.pruning.growing.round import Log, Memory, Round, plan
from elegans.pruning.growing.rules import GrowthRule, as_growth
from elegans.pruning.ledger import Guard
from elegans.pruning.parts.finding import parts_of
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.settings import PrunerSettings, as_schedule, checked_seed
from elegans.pruning.state import PrunerState


@checked(PruningError)
class Pruner(PrunerState):
    r"""Cuts weights of a model by a criterion, in a scope, on a schedule.

    Works on liquid layers, whose synapses are slots, and on any ``torch.nn.Module``, whose weights
    are masked; on an ensemble it prunes every member by itself. Without growth, the mask M only
    loses entries, w <- M * w: a pruned weight never revives by itself, since it is zero, has no
    gradient, and the optimiser's memory of it is zeroed. Biases are not pruned.

    In a module, ``<weight>_mask`` is a buffer beside the weight. In a liquid layer, a cut synapse
    has conductance zero and leaves ``model.wiring``; slots stay. `elegans.pruning.compact` turns
    either into a smaller model.

    Parameters
    ----------
    model
        Any module.
    optimizer
        Holds the model's parameters: one of PyTorch's that keep their memory weight by weight, or
        see `optimizer_state_names`. May be left out when a trained model is pruned.
    schedule
        How much is missing when: a `Schedule`, or a sparsity to be reached by the first `step`. It
        is copied; how far it has come is seen in `pruner.schedule`. None if only `prune` is to
        be used.
    criterion
        Which go first: a name in `CRITERIA`, a `Criterion`, or a function from a `PrunableWeight`
        to scores in the shape of its weight, the lowest of which go first.
    scope
        What competes with what: ``"layer"``, ``"block"``, ``"global"``, ``"unit"`` (neurons with
        all their incoming weights, layer by layer), ``"global_unit"``, or a `Scope`.
    budget
        How the share is spread over layers where each loses its own: ``"uniform"`` or
        ``"erdos_renyi"``.
    growth
        None, ``"random"`` (SET), ``"gradient"`` (RigL), another name in `GROWTHS`, or a
        `GrowthRule`: where as many weights grow as `drop_fraction` drops. In a matrix they come
        back at zero; in a circuit the synapse moves, see `PruneRewire`. With ``keep_blocks=False``
        `MomentumGrowth` moves weights from one matrix to another.
    drop_fraction
        Which of the remaining weights are exchanged: a `CosineFraction` of them, or another
        threshold. The sets of synapses of a cell are judged together, a matrix by itself.
    every, until
        Weights are exchanged once in so many steps, until this step; no limit by default.
    weight, excitatory
        What a synapse begins with that grows: its strength, see `PruneRewire`, and the probability
        that it is excitatory where the rule does not choose.
    keep_sources, keep_blocks, keep_sets, self_synapses, max_inputs
        Where synapses may go, see `PruneRewire`.
    grace
        Optimiser steps for which a weight that has grown is not exchanged again.
    guards
        Called with each `ProposedEdit` before it happens, cuts included; see `add_guard`.
    include, exclude
        Names of weights or modules, with wildcards, that are pruned, or are not.
    allow_empty
        Whether a layer may lose all its weights.
    optimizer_state_names
        Names of the per-weight state tensors of an optimiser of another kind.
    list_edits
        Which edits the ledger lists, ``"all"``, those of ``"synapses"``, or ``"none"``; all are
        counted.
    seed
        Seed of all random choices. Replicas with equal weights and seeds make equal edits.

    Raises
    ------
    PruningError
        An argument is not valid, nothing can be pruned, or the optimiser does not hold the
        parameters.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the lottery: making all tickets winners", ICML
    2020; Mocanu et al., Nature Communications 9:2383 (2018).

    Examples
    --------
    >>> import torch
    >>> from elegans.pruning import Cubic
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> pruner = Pruner(model, optimizer, Cubic(0.75, begin=10, end=50, every=10))
    >>> for _ in range(60):
    ...     optimizer.zero_grad()
    ...     model(torch.randn(16, 4)).square().mean().backward()
    ...     optimizer.step()
    ...     cut = pruner.step()
    >>> pruner.sparsities()
    {'0.weight': 0.75, '2.weight': 0.75}
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        schedule: Schedule | Sparsity | None = None,
        criterion: str | Criterion | Callable[[PrunableWeight], Tensor] = "magnitude",
        scope: str | Scope = "layer",
        *,
        budget: str = "uniform",
        growth: str | GrowthRule | None = None,
        drop_fraction: Threshold | None = None,
        every: int = 100,
        until: int | None = None,
        weight: float | str = "median",
        excitatory: float = 0.5,
        keep_sources: bool = False,
        keep_blocks: bool = True,
        keep_sets: bool = True,
        self_synapses: bool = False,
        max_inputs: int | None = None,
        grace: int = 0,
        guards: Sequence[Guard] = (),
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        allow_empty: bool = False,
        list_edits: str = "synapses",
        optimizer_state_names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        remedy = "prune before fully_shard, or train with DistributedDataParallel"
        check_whole(model.parameters(), remedy, PruningError)
        self.model = model
        settings = PrunerSettings(
            as_scope(scope),
            budget,
            None if growth is None else as_growth(growth),
            drop_fraction,
            every,
            until,
            Fresh(weight, excitatory),
            Freedom(keep_sources, keep_blocks, self_synapses, max_inputs, keep_sets),
            grace,
            allow_empty,
            list_edits,
            checked_seed(seed),
        )
        schedule, criterion = as_schedule(schedule), as_criterion(criterion)
        moments = Moments(optimizer, optimizer_state_names)
        parts = self._chosen(parts_of(model, include, exclude))
        for part in parts:
            moments.check(part.named_parameters())
            if growth is not None:
                settings.check_growth(part)
        super().__init__(parts, settings, schedule, criterion, moments)
        if self._momentum is not None and optimizer is None:
            raise PruningError(
                f"got growth={settings.growth!r} and no optimizer, whose steps it looks at; pass "
                "optimizer="
            )
        self._guards = list(guards)
        self._optimizer: Any = optimizer
        self._averages: list[nn.Module] = []
        self._attach()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy; optimisers and parameters leave hooks behind when copied."""
        self.__dict__.update(state)
        self._attach()

    def _attach(self) -> None:
        for part in self.parts:
            part.attach()
        if self._optimizer is not None:
            self._optimizer.register_step_post_hook(self._close_again)
            if self.criterion.watches or self._momentum is not None:
                self._optimizer.register_step_pre_hook(self._watch)
        if self._momentum is not None:
            self._momentum.attach()

    def _chosen(self, parts: list[PrunableWeight]) -> list[PrunableWeight]:
        """Return the parts that are pruned, of those that could be."""
        return parts

    def add_guard(self, guard: Guard) -> None:
        """Ask `guard` before every edit.

        It consents by returning None or anything true; anything false, or a reason as a text,
        refuses: the weight stays. With a `GuardResult` it adds figures to the ledger.
        """
        self._guards.append(guard)

    def follow(self, average: nn.Module) -> None:
        r"""Keep an average over the parameters of the model together with its connections.

        After each edit, the averaged value of a weight that was cut, or has grown, is the value
        that it has in the model at that moment, and its mask and connection are those of the
        model; nothing else of the average changes. The count n of what was averaged is one number
        for the whole model and goes on: in an equal average the value at the edit stands for the n
        values before, so that the next one has the share 1 / (n + 1).

        Buffers that are not floating are copied from then on, never averaged: masks, connections,
        counts of batches. Where a state is loaded, load that of the average after that of the
        pruner.

        Parameters
        ----------
        average
            A ``torch.optim.swa_utils.AveragedModel`` of ``pruner.model``, or a copy of the model
            that is averaged in another way. It may be older than the pruner and its edits.

        Raises
        ------
        PruningError
            Its parameters are not those of the model; nothing is changed then.

        Examples
        --------
        >>> import torch
        >>> from torch.optim.swa_utils import AveragedModel
        >>> model = torch.nn.Linear(2, 1)
        >>> average, pruner = AveragedModel(model), Pruner(model)
        >>> pruner.follow(average)
        >>> average.update_parameters(model)
        >>> pruner.prune(0.5)
        {'weight': 0.5}
        >>> int((average.module.weight == 0).sum())
        1
        """
        prepare(self.model, average)
        if all(average is not known for known in self._averages):
            self._averages.append(average)
        self._restart_averages()

    def _restart_averages(self) -> None:
        for average in self._averages:
            restart(self.model, average, self.parts)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue as `PrunerState.load_state_dict`; averages have the same masks then."""
        super().load_state_dict(state)
        self._restart_averages()

    def step(self, closure: Closure | None = None) -> int:
        """Count one optimiser step, and cut and grow when it is time.

        Parameters
        ----------
        closure
            Returns the loss of the current batch, differentiable; for criteria and growth that
            look at gradients. Called only when something is due.

        Returns
        -------
        int
            The number of weights that were cut now.

        Raises
        ------
        PruningError
            As `prune`; then no weight is changed.
        """
        step, before = self.steps + 1, self.cut
        for part in self.parts:
            part.check_same()
        exchanges = self.settings.exchanges_at(step)
        cuts = self.schedule is not None and self.schedule.is_due(step)
        rounds: list[Round] = []
        with self._undone_on_error(cuts and exchanges):
            if cuts and self.schedule is not None:
                self._explored.note()
                self._prune(self.schedule.sparsity(step), closure)
            if exchanges:
                rounds = self._planned(step, closure)
        if cuts:
            self._restart_averages()
        self._explored.note()
        if cuts and self.schedule is not None:
            self.schedule.advance()
        self.steps = step
        log = self._log(step)
        for each in rounds:
            self._explored.is_noted = False
            try:
                self.cut += each.carry_out(log)
            finally:  # what was edited before a guard raised stays
                self._restart_averages()
        return self.cut - before

    def report_metric(self, loss: float | Tensor) -> None:
        """Tell the schedule a validation loss; `IterativeSchedule` waits for convergence."""
        if self.schedule is not None:
            self.schedule.report_metric(float(torch.as_tensor(loss).double().mean()))

    def prune(
        self, sparsity: Sparsity, closure: Closure | None = None, *, rounds: int = 1
    ) -> dict[str, float]:
        r"""Cut weights until the share `sparsity` is missing; what is missing stays so.

        Parameters
        ----------
        sparsity
            In [0, 1), or one for each member of an ensemble.
        closure
            Returns the loss, differentiable, for criteria that look at gradients.
        rounds
            The cut is made in so many rounds with new scores in each, the density falling
            exponentially: after round r of R, :math:`(1 - s)^{r / R}` is left.

        Returns
        -------
        dict
            The share of missing weights of each part.

        Raises
        ------
        PruningError
            The sparsity is not valid, a layer would lose all its weights, a score is not a number,
            or the model has changed since the mask was made. No weight is changed then.
        """
        self._prune(sparsity, closure, rounds)
        self._restart_averages()
        return self.sparsities()

    def _prune(self, sparsity: Sparsity, closure: Closure | None, rounds: int = 1) -> None:
        check_sparsity("sparsity", sparsity)
        check_step("rounds", rounds)
        self._check_parts()
        goal = self._of_members(sparsity)
        with self._undone_on_error(rounds > 1):
            for k in range(1, rounds + 1):
                self._cut_to(1 - (1 - goal) ** (k / rounds), closure)

    def apply_masks(self, masks: Mapping[str, Tensor]) -> dict[str, float]:
        """Keep only the weights of `masks`, for rules that decide by themselves how many go.

        Parameters
        ----------
        masks
            By the name of the weight: true where it stays. Weights of other names stay as they
            are, and what is missing stays so.

        Raises
        ------
        PruningError
            No weight is called so, a mask has another shape or is not bool, a layer would lose
            all its weights, or the model has changed. No weight is changed then.

        Examples
        --------
        >>> import torch
        >>> pruner = Pruner(torch.nn.Linear(4, 3))
        >>> mask = torch.ones(3, 4, dtype=torch.bool)
        >>> mask[:, 0] = False
        >>> pruner.apply_masks({"weight": mask})
        {'weight': 0.25}
        """
        names = [part.name for part in self.parts]
        unknown = sorted(set(masks) - set(names))
        if unknown:
            raise PruningError(f"no weight is called {unknown[0]!r}, expected some of {names}")
        self._check_parts()
        after = []
        for part in self.parts:
            mask = torch.as_tensor(masks.get(part.name, part.mask), device=part.mask.device)
            if mask.shape != part.mask.shape or mask.dtype != torch.bool:
                raise PruningError(
                    f"the mask of {part.name} has shape {tuple(mask.shape)} of {mask.dtype}, "
                    f"expected {tuple(part.mask.shape)} of torch.bool"
                )
            after.append(mask & part.mask)
        self._hold(after)
        self._restart_averages()
        return self.sparsities()

    @torch.no_grad()
    def reapply_masks(self) -> None:
        """Cut again whatever the masks say is cut, after weights were written from outside."""
        for part in self.parts:
            part.hold(part.mask.clone(), self._moments)
            for _, parameter in part.named_parameters():
                self._moments.reset(parameter, ~part.mask)

    # --- one cut -------------------------------------------------------------------------

    def _cut_to(self, sparsity: Tensor, closure: Closure | None) -> None:
        """Cut until the shares `sparsity`, (member,), are missing."""
        self._hold(self._masks_after(sparsity, self._scores(closure)))

    def _masks_after(self, sparsity: Tensor, scores: Sequence[Tensor]) -> list[Tensor]:
        """Return the masks of the parts with the shares `sparsity`, (member,), missing."""
        shares = spread(self.parts, sparsity, self.settings.budget)
        return select(self.parts, scores, shares, self.settings.scope, self.criterion.norm)

    def _hold(self, after: Sequence[Tensor]) -> None:
        """Let `after` be the masks, if no part loses everything."""
        if not self.settings.allow_empty:
            check_not_empty(self.parts, after)
        self._explored.is_noted = False
        log = self._log(self.steps + 1)
        for part, mask in zip(self.parts, after, strict=True):
            self.cut += cut(part, mask, log, self.settings)

    # --- one exchange --------------------------------------------------------------------

    def _log(self, step: int) -> Log:
        memories: list[Memory] = [self.criterion]
        if self._momentum is not None:
            memories.append(self._momentum)
        return Log(step, self._ledger, self._guards, self._moments, memories, self._births)

    def _planned(self, step: int, closure: Closure | None) -> list[Round]:
        """Return the rounds of an exchange, whose edits are chosen; nothing is changed yet."""
        rule = self.settings.growth
        assert rule is not None
        self._check_parts()
        random = copy.deepcopy(self._rng.bit_generator.state)
        try:
            scores = self._scores(closure)
            rounds = rounds_of(
                self.parts, scores, self.settings, step, self._rng, self._births, self._newborn
            )
            plan(rounds, rule, closure, {} if self._momentum is None else self._momentum.means)
        except BaseException:
            self._rng.bit_generator.state = random
            raise
        return rounds

    # --- scores and checks ---------------------------------------------------------------

    def _scores(self, closure: Closure | None) -> list[Tensor]:
        context = ScoringContext(
            self.model, self.parts, closure, self._generator, self.settings.scope.units
        )
        scores = self.criterion.scores(context)
        for part, score in zip(self.parts, scores, strict=True):
            if score.shape != part.mask.shape:
                raise PruningError(
                    f"the criterion returned {tuple(score.shape)} for {part.name}, expected a "
                    f"tensor of shape {tuple(part.mask.shape)}, one score a weight"
                )
            if bool(torch.isnan(score[part.mask]).any()):
                raise PruningError(
                    f"the criterion gave a score that is not a number for {part.name}, expected "
                    "one to order every weight by; nothing was pruned: check the loss, the data "
                    "and the criterion"
                )
        return scores

    def _check_parts(self) -> None:
        for part in self.parts:
            part.check()
            part.check_finite()
            self._moments.check(part.named_parameters())

    def _of_members(self, sparsity: Sparsity) -> Tensor:
        """Return a sparsity for each member, (member,)."""
        members = self.parts[0].members
        values = torch.as_tensor(np.asarray(sparsity, dtype=np.float64))
        if values.dim() == 1 and len(values) != members:
            raise PruningError(
                f"got {len(values)} sparsities, expected one number or one for each of the "
                f"{members} members"
            )
        return values.expand(members).to(self.parts[0].mask.device)

    def _close_again(self, *_: Any) -> None:
        for part in self.parts:
            part.close_again()

    def _watch(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Look at the gradients before a step; those of a step with a closure come in it."""
        closure = args[1] if len(args) > 1 else kwargs.get("closure")  # the first is the optimiser
        if closure is None:
            self._look(optimizer)
            return None

        def watched() -> Any:
            loss = closure()
            self._look(optimizer)
            return loss

        if len(args) > 1:
            return (args[0], watched, *args[2:]), kwargs
        return args, kwargs | {"closure": watched}

    def _look(self, optimizer: Optimizer) -> None:
        overflowed = getattr(optimizer, "found_inf", None)
        if overflowed is not None and bool(overflowed):
            return  # a gradient scaler lets a fused optimiser skip this step by itself
        scale = getattr(optimizer, "grad_scale", None)
        self.criterion.watch(self.parts, scale)
        if self._momentum is not None:
            self._momentum.watch(scale)
