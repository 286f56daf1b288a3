"""Growth rules: which of the places where a weight could grow are the best."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.parts.part import PrunableWeight


@dataclass(frozen=True)
class GrowthContext:
    """Places where a weight could grow, as a growth rule sees them; arrays (candidate,).

    In a circuit each candidate is a synapse that a cut one may become; in a matrix each absent
    entry is one, in the order of the flattened weight.

    Examples
    --------
    >>> ones, rng = torch.tensor([1, 1]), np.random.default_rng(0)
    >>> context = GrowthContext("cell.recurrent", ones, ones, ones, rng, lambda: ones)
    >>> len(context), context.slopes().tolist(), RandomGrowth().interest(context).shape
    (2, [1, 1], torch.Size([2]))
    """

    name: str
    """Dotted name of the weight or of the cell."""
    source: Tensor
    """Neuron or input, or column of the matrix."""
    target: Tensor
    """Neuron, or row of the matrix."""
    polarity: Tensor
    """+1 or -1 for a synapse, 0 for an entry of a matrix."""
    rng: np.random.Generator
    _slopes: Callable[[], Tensor]
    part: PrunableWeight | None = None
    """The weights that are there."""
    block: Tensor | None = None
    """In a circuit, the number of the block of each candidate, as `part.block_of()` counts them."""
    momentum: Tensor | None = None
    """Smoothed d loss / d weight of the weights of `part`, in their shape, if the rule asks for it.

    Absent entries of a matrix have it, too.
    """

    def __len__(self) -> int:
        return len(self.source)

    def slopes(self) -> Tensor:
        """Return d loss / d weight of each candidate at strength zero; takes one backward pass.

        Raises
        ------
        PruningError
            The operator was not given the loss.
        """
        return self._slopes()

    def random(self) -> Tensor:
        """Return a random number in [0, 1) for each candidate."""
        return torch.from_numpy(self.rng.random(len(self))).to(self.source.device)


class GrowthRule(ABC):
    """Says where weights grow: the candidates of the highest interest do.

    The operator sees to everything else: which places are legal, how many weights grow, which
    values they begin with. Register a rule in `GROWTHS` to call it by a name.

    Examples
    --------
    Weights grow near the diagonal:

    >>> class Near(GrowthRule):
    ...     candidates = 8
    ...
    ...     def interest(self, context):
    ...         return -(context.source - context.target).abs()
    >>> import torch
    >>> from elegans.pruning import CosineFraction, Pruner
    >>> model = torch.nn.Linear(4, 4)
    >>> drop = CosineFraction(0.5, 100)
    >>> pruner = Pruner(model, growth=Near(), drop_fraction=drop, every=1)
    >>> _ = pruner.prune(0.5)
    >>> pruner.step()  # half of the eight weights that are left are exchanged
    4
    """

    candidates: int | None = 1
    """Number of places, drawn at random, that each weak synapse of a circuit considers; None: all.

    Synapses that may go to the same places consider them together.
    """
    both_polarities: bool = False
    """Whether a synapse may grow at each place in both polarities, or in one at random.

    Both have the same gate and follow each other, the excitatory one first.
    """
    decay: float | None = None
    """Share of the past in the smoothed gradients that the rule asks for; None for none."""
    across_layers: bool = False
    """Whether matrices compete for all places that are freed, where blocks of a circuit do."""

    @abstractmethod
    def interest(self, context: GrowthContext) -> Tensor:
        """Return how much each candidate should grow, shape (candidate,)."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"


class RandomGrowth(GrowthRule):
    """Weights grow at random, as in sparse evolutionary training (SET).

    References
    ----------
    Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta, "Scalable training of artificial neural networks
    with adaptive sparse connectivity inspired by network science", Nature Communications 9:2383
    (2018).

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(8, AutoNCP(units=19, output_size=4))
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> rewirer = elegans.PruneRewire(model, optimizer, steps=60, growth=RandomGrowth())
    >>> rewirer.settings.growth
    RandomGrowth()
    """

    def interest(self, context: GrowthContext) -> Tensor:
        """Return random numbers."""
        return context.random()


@checked(PruningError)
class GradientGrowth(GrowthRule):
    r"""Weights grow where the loss falls fastest, as in RigL.

    In a matrix the interest is :math:`g = |\partial L / \partial w|`. The strength of a synapse
    cannot be negative, so that in a circuit it is :math:`g = -\partial L / \partial w` of either
    polarity. Places of a large g share sources and targets, and synapses crowd there; at a
    temperature T > 0 places are drawn, without replacement, with probabilities that are
    proportional to :math:`\max(g, 0)^{1/T}`.

    Parameters
    ----------
    candidates
        How many places each weak synapse of a circuit considers; all that are legal when None.
    temperature
        0 takes the best places, 1 draws them in proportion to g.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the lottery: making all tickets winners", ICML 2020;
    for drawing by keys, Efraimidis, Spirakis, "Weighted random sampling with a reservoir",
    Information Processing Letters 97:181 (2006).

    Examples
    --------
    >>> GradientGrowth(candidates=8, temperature=1.0)
    GradientGrowth(candidates=8, temperature=1.0)
    """

    both_polarities = True

    def __init__(self, candidates: int | None = 32, temperature: float = 0.0) -> None:
        if not (isinstance(temperature, int | float) and 0 <= temperature < math.inf):
            raise PruningError(f"temperature must be a number >= 0, got {temperature!r}")
        self.candidates = checked_candidates(candidates)
        self.temperature = float(temperature)

    def interest(self, context: GrowthContext) -> Tensor:
        """Return how fast the loss falls."""
        slopes = context.slopes()
        descent = torch.where(context.polarity == 0, slopes.abs(), -slopes)
        return softened(descent, self.temperature, context)


@checked(PruningError)
class HebbianGrowth(GradientGrowth):
    r"""Synapses grow where a source's gate goes with the error of a target.

    .. math:: g = \mp \sum_t \sigma(s (x_j(t) - m)) \, \frac{\partial L}{\partial I_i(t)}

    for a synapse that drives the current :math:`I_i` of its target up or down: the correlation of
    what is there before the synapse with what its target lacks. `GradientGrowth` adds that an open
    synapse also damps its target; this rule leaves that out. It is half the difference of the two
    polarities' slopes. In a matrix, for gap junctions, and for synapses with one signed weight,
    both rules are one.

    Parameters are those of `GradientGrowth`.

    References
    ----------
    Dai, Yin, Jha, "NeST: a neural network synthesis tool based on a grow-and-prune paradigm", IEEE
    Transactions on Computers 68:1487 (2019), for growth by the correlation of activity and error.

    Examples
    --------
    >>> HebbianGrowth(candidates=None)
    HebbianGrowth(candidates=None, temperature=0.0)
    """

    def interest(self, context: GrowthContext) -> Tensor:
        """Return how well the gate of each candidate goes with the error of its target."""
        if context.part is not None and context.part.is_mutual:
            return super().interest(context)
        slopes = context.slopes()
        if bool((context.polarity == 0).any()):
            return softened(slopes.abs(), self.temperature, context)
        pairs = slopes.reshape(-1, 2)
        correlation = (pairs[:, 0] - pairs[:, 1]) / 2
        descent = torch.stack([-correlation, correlation], dim=1).reshape(-1)
        return softened(descent, self.temperature, context)


@checked(PruningError)
class StrengthGrowth(GrowthRule):
    r"""Weights grow at random, more of them in blocks whose weights are strong.

    The blocks of a circuit (pairs of layers) compete: a place is drawn with a probability that is
    proportional to the mean strength of the synapses of its block, as training has made them.
    Only with ``keep_blocks=False`` do blocks compete; elsewhere this is `RandomGrowth`.

    Parameters
    ----------
    candidates
        How many places each weak synapse considers; they are the draws' room.

    References
    ----------
    Dettmers, Zettlemoyer, "Sparse networks from scratch: faster training without losing
    performance", 2019, for shares of layers by what their weights are worth; Liu, Mocanu, Pei,
    Pechenizkiy, "Selfish sparse RNN training", ICML 2021, for the gates of recurrent cells.

    Examples
    --------
    >>> StrengthGrowth()
    StrengthGrowth(candidates=16)
    """

    def __init__(self, candidates: int | None = 16) -> None:
        self.candidates = checked_candidates(candidates)

    def interest(self, context: GrowthContext) -> Tensor:
        """Return keys that draw places in proportion to the mean strength of their block."""
        if context.part is None or context.block is None:
            return context.random()
        blocks, strengths = context.part.block_of(), context.part.weights().abs().double()
        share = torch.zeros(len(context), dtype=torch.float64, device=strengths.device)
        for block in torch.unique(context.block).tolist():
            present = strengths[(blocks == block) & context.part.mask]
            share[context.block == block] = present.mean() if len(present) else 0.0
        return softened(share, 1.0, context)


def checked_candidates(candidates: Any) -> int | None:
    """Return a number of candidates, None for all; raise `PruningError` if it is neither."""
    is_whole = isinstance(candidates, int) and not isinstance(candidates, bool)
    if candidates is not None and not (is_whole and candidates >= 1):
        raise PruningError(
            f"candidates must be an integer of at least 1, or None for all, got {candidates!r}"
        )
    return candidates if candidates is None else int(candidates)


def softened(score: Tensor, temperature: float, context: GrowthContext) -> Tensor:
    """Return keys whose order draws candidates with probabilities like score^(1 / temperature).

    Candidates of a score of 0 or less come last. At temperature 0 the scores are the keys.
    """
    if temperature == 0:
        return score
    gumbel = -torch.log(-torch.log(context.random().clamp(1e-300, 1 - 1e-16)))
    positive = score.double().clamp(min=torch.finfo(torch.float64).tiny)
    return positive.log() / temperature + gumbel


GROWTHS: dict[str, Callable[[], GrowthRule]] = {
    "random": RandomGrowth,
    "gradient": GradientGrowth,
}
"""Growth rules by name."""


def as_growth(growth: Any) -> GrowthRule:
    """Return the rule that a name or a rule stands for."""
    if isinstance(growth, GrowthRule):
        return growth
    if isinstance(growth, str) and growth in GROWTHS:
        return GROWTHS[growth]()
    raise PruningError(
        f"unknown growth {growth!r}, expected a GrowthRule or one of {tuple(GROWTHS)}"
    )
