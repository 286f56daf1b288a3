"""The pruner, which cuts weights of any model while it learns and grows as many if asked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from elegans.errors import PruningError
from elegans.pruning.amount.budgets import spread
from elegans.pruning.amount.schedules import (
    Schedule,
    Sparsity,
    check_sparsity,
    check_step,
    described,
)
from elegans.pruning.amount.scopes import Scope, as_scope, select
from elegans.pruning.amount.thresholds import CosineFraction
from elegans.pruning.criteria.gradients import Closure
from elegans.pruning.criteria.magnitude import Criterion, ScoringContext
from elegans.pruning.growing.exchange import exchange as exchange_weights
from elegans.pruning.parts.finding import parts_of
from elegans.pruning.parts.moments import Moments
from elegans.pruning.parts.part import PrunableWeight
from elegans.pruning.parts.synapses import SynapsePart
from elegans.pruning.parts.weights import StackedSynapsePart
from elegans.pruning.pruner_settings import PrunerSettings, as_criterion, as_schedule
from elegans.pruning.rewire_settings import checked_seed


class Pruner:
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
        None, ``"random"`` (SET) or ``"gradient"`` (RigL): how as many weights grow as
        `drop_fraction` cuts.
    drop_fraction
        The share of the remaining weights that is exchanged: a `CosineFraction`.
    every
        Weights are exchanged once in so many steps.
    include, exclude
        Names of weights or modules, with wildcards, that are pruned, or are not.
    allow_empty
        Whether a layer may lose all its weights.
    optimizer_state_names
        Names of the per-weight state tensors of an optimiser of another kind.
    seed
        Seed of all random choices.

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
        growth: str | None = None,
        drop_fraction: CosineFraction | None = None,
        every: int = 100,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        allow_empty: bool = False,
        optimizer_state_names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.schedule = as_schedule(schedule)
        self.criterion = as_criterion(criterion)
        self.settings = PrunerSettings(
            as_scope(scope), budget, growth, drop_fraction, every, allow_empty, checked_seed(seed)
        )
        self._generator = own_generator(self.settings.seed)
        self._moments = Moments(optimizer, optimizer_state_names)
        self.parts = parts_of(model, include, exclude)
        for part in self.parts:
            self._moments.check(part.named_parameters())
            if growth is not None and isinstance(part, StackedSynapsePart):
                raise PruningError(
                    f"synapses of {part.name} would have to grow in several circuits at once; "
                    "let one member at a time grow, or prune the ensemble without growth"
                )
        self.steps = 0
        self.cut = 0
        """Weights cut so far, those exchanged included."""
        self._ever: list[Tensor | None] = [None for _ in self.parts]
        self._noted = False  # whether the present masks are in `_ever`
        for part in self.parts:
            part.attach()
        if optimizer is not None:
            optimizer.register_step_post_hook(self._close_again)
            if self.criterion.watches:
                optimizer.register_step_pre_hook(self._watch)

    # --- what there is -------------------------------------------------------------------

    @property
    def sparsity(self) -> float:
        """The share of missing weights in all parts; their mean over members of an ensemble."""
        missing = sum(int((~part.mask).sum()) for part in self.parts)
        return missing / sum(part.mask.numel() for part in self.parts)

    def sparsities(self) -> dict[str, float]:
        """Return the share of missing weights of each part."""
        return {part.name: float((~part.mask).double().mean()) for part in self.parts}

    def masks(self) -> dict[str, Tensor]:
        """Return which weights are there, bool, in the shape of each weight."""
        return {part.name: part.mask.clone() for part in self.parts}

    def ever_active(self) -> dict[str, Tensor]:
        """Return which weights took part in at least one optimiser step, as `step` counted them.

        By name, a mask in the shape of the weight. Of a set of synapses, one entry for each pair
        of neurons that could be connected, in no particular order.
        """
        active = {}
        for part, ever in zip(self.parts, self._ever, strict=True):
            if isinstance(part, SynapsePart):
                pairs = 0 if ever is None else len(ever)
                active[part.name] = torch.arange(part.possible) < pairs
            else:
                active[part.name] = torch.zeros_like(part.mask) if ever is None else ever.clone()
        return active

    def exploration_rate(self) -> float:
        """Return the share of all possible weights that took part in at least one step.

        References
        ----------
        Liu, Yin, Mocanu, Pechenizkiy, "Do we actually need dense over-parameterization?
        In-time over-parameterization in sparse training", ICML 2021, definition 1.
        """
        pairs = zip(self.parts, self._ever, strict=True)
        explored = sum(part.explored(ever) for part, ever in pairs)
        return explored / sum(part.possible for part in self.parts)

    # --- what it does --------------------------------------------------------------------

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
        if not self._noted:
            pairs = zip(self.parts, self._ever, strict=True)
            self._ever, self._noted = [part.joined(ever) for part, ever in pairs], True
        share = self.settings.exchanged(step)
        cuts = self.schedule is not None and self.schedule.is_due(step)
        with self._undone_on_error(cuts and share > 0):
            if cuts and self.schedule is not None:
                self.prune(self.schedule.sparsity(step), closure)
            if share > 0:
                self._check_parts()
                self.cut += exchange_weights(
                    self.parts,
                    self._scores(closure),
                    share,
                    str(self.settings.growth),
                    closure,
                    self._generator,
                    self._moments,
                    self.criterion.forget,
                )
                self._noted = False
        if cuts and self.schedule is not None:
            self.schedule.advance()
        self.steps = step
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
        check_sparsity("sparsity", sparsity)
        check_step("rounds", rounds)
        self._check_parts()
        wanted = self._of_members(sparsity)
        with self._undone_on_error(rounds > 1):
            for k in range(1, rounds + 1):
                self._cut_to(1 - (1 - wanted) ** (k / rounds), closure)
        return self.sparsities()

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
        return self.sparsities()

    @torch.no_grad()
    def reapply_masks(self) -> None:
        """Cut again whatever the masks say is cut, after weights were written from outside."""
        for part in self.parts:
            part.hold(part.mask.clone(), self._moments)
            for _, parameter in part.named_parameters():
                self._moments.reset(parameter, ~part.mask)

    # --- state ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return step, masks, schedule, criterion and random state."""
        return {
            "steps": self.steps,
            "cut": self.cut,
            "masks": self.masks(),
            "ever": {part.name: ever for part, ever in zip(self.parts, self._ever, strict=True)},
            "schedule": {} if self.schedule is None else self.schedule.state_dict(),
            "criterion": self.criterion.state_dict(),
            "random": self._generator.get_state(),
            "settings": self._described(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; model and optimiser are restored by their own.

        Raises
        ------
        PruningError
            It is no such state, or of another model, or of a pruner with other settings, another
            criterion or another schedule; nothing is changed then.
        """
        try:
            steps, cut, masks, ever = (
                int(state["steps"]),
                int(state["cut"]),
                dict(state["masks"]),
                dict(state["ever"]),
            )
            generator = torch.Generator()
            generator.set_state(torch.as_tensor(state["random"]).cpu())
            schedule, criterion = copy.deepcopy((self.schedule, self.criterion))
            if schedule is not None:
                schedule.load_state_dict(dict(state["schedule"]))
            criterion.load_state_dict(dict(state["criterion"]))
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise PruningError(
                f"not a state of Pruner ({error!r}); pass what state_dict() returned"
            ) from error
        shapes = {name: tuple(mask.shape) for name, mask in masks.items()}
        mine = {part.name: tuple(part.mask.shape) for part in self.parts}
        if shapes != mine or set(ever) != set(mine):
            raise PruningError(
                f"the state is of weights {shapes}, this pruner has {mine}; make it with the "
                "model, include and exclude that it was saved with"
            )
        if self._described() != state.get("settings"):
            raise PruningError(
                f"the state was saved with the settings {state.get('settings')}, this pruner has "
                f"{self._described()}; make it with those it was saved with"
            )
        self.schedule, self.criterion = schedule, criterion
        self.steps, self.cut, self._generator = steps, cut, generator
        self._ever = [ever[part.name] for part in self.parts]
        self._noted = False
        for part in self.parts:
            # What the optimiser remembers is restored by itself.
            part.hold(masks[part.name].to(part.mask), Moments(None))

    def _described(self) -> dict[str, Any]:
        """Return plain values that say what this pruner does."""
        return self.settings.to_dict() | {
            "criterion": type(self.criterion).__name__,
            "schedule": described(self.schedule),
        }

    @contextmanager
    def _undone_on_error(self, several: bool) -> Iterator[None]:
        """Undo all if one of `several` changes fails; a single one fails before it begins."""
        if not several:
            yield
            return
        kept = self.cut, self._noted, self._generator.get_state()
        masks = [part.mask.clone() for part in self.parts]
        held = [
            (tensor, tensor.detach().clone())
            for part in self.parts
            for _, parameter in part.named_parameters()
            for tensor in self._moments.tensors(parameter)
        ]
        try:
            yield
        except BaseException:
            self.cut, self._noted = kept[:2]
            self._generator.set_state(kept[2])
            for part, mask in zip(self.parts, masks, strict=True):
                part.hold(mask, Moments(None))
            with torch.no_grad():
                for tensor, value in held:
                    tensor.copy_(value)
            raise

    # --- one cut -------------------------------------------------------------------------

    def _cut_to(self, wanted: Tensor, closure: Closure | None) -> None:
        """Cut until the shares `wanted`, (member,), are missing."""
        shares = spread(self.parts, wanted, self.settings.budget)
        after = select(
            self.parts, self._scores(closure), shares, self.settings.scope, self.criterion.norm
        )
        self._hold(after)

    def _hold(self, after: Sequence[Tensor]) -> None:
        """Let `after` be the masks, if no part loses everything."""
        if not self.settings.allow_empty:
            for part, mask in zip(self.parts, after, strict=True):
                empty = ~part.flat(mask).any(dim=1) & part.flat(part.mask).any(dim=1)
                if bool(empty.any()):
                    member = f" of member {int(empty.nonzero()[0])}" if len(empty) > 1 else ""
                    raise PruningError(
                        f"{part.name}{member} would lose all its weights; nothing was pruned: "
                        "lower the sparsity, prune by layer, exclude it, or pass allow_empty=True"
                    )
        self._noted = False
        for part, mask in zip(self.parts, after, strict=True):
            self.cut += int((part.mask & ~mask).sum())
            part.hold(mask, self._moments)

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

    def _watch(self, optimizer: Optimizer, *_: Any) -> None:
        overflowed = getattr(optimizer, "found_inf", None)
        if overflowed is not None and bool(overflowed):
            return  # a gradient scaler lets a fused optimiser skip this step by itself
        self.criterion.watch(self.parts, getattr(optimizer, "grad_scale", None))


def own_generator(seed: int) -> torch.Generator:
    """Return a generator whose numbers are not those that the model was drawn from.

    With the same seed for both, PyTorch's generator would repeat the very numbers that became the
    initial weights, and "at random" would mean "the smallest first".
    """
    mixed = np.random.SeedSequence((seed, 0x7072756E65)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))
