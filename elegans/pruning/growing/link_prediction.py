"""Growth by topology alone: a link predictor of network science says where synapses belong."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.arguments import checked
from elegans.errors import PruningError
from elegans.pruning.growing.rules import GrowthContext, GrowthRule, softened


@checked(PruningError)
class LinkPrediction(GrowthRule):
    r"""Weights grow where many short paths lead already: Cannistraci-Hebb training (CHT).

    Sources and targets are the two sides of a bipartite graph. The score of a pair (u, v) sums its
    paths u - t - s - v of length three, through another target t of u and another source s of v,

    .. math:: \sum_{t, s} \frac{1}{\sqrt{(1 + e_t)(1 + e_s)}}

    where e counts the links of a neuron on such a path that lead to none of these neurons, nor to
    u or v (CH3-L3). It needs neither data nor gradients.

    Parameters
    ----------
    temperature
        0 takes the pairs of the highest score (CHT); 1 draws them in proportion to it (CHTs).

    Raises
    ------
    PruningError
        The temperature is negative or not a number.

    References
    ----------
    Zhang, Zhao, Wu, Muscoloni, Cannistraci, "Epitopological learning and Cannistraci-Hebb network
    shape intelligence brain-inspired theory for ultra-sparse advantage in deep learning", ICLR
    2024; Muscoloni, Michieli, Zhang, Cannistraci, "Adaptive network automata modelling of complex
    networks", Preprints 202012.0808, for CH3-L3.

    Examples
    --------
    >>> LinkPrediction(temperature=1.0)
    LinkPrediction(temperature=1.0)
    """

    candidates = None

    def __init__(self, temperature: float = 0.0) -> None:
        if not (isinstance(temperature, int | float) and 0 <= temperature < math.inf):
            raise PruningError(f"temperature must be a number >= 0, got {temperature!r}")
        self.temperature = float(temperature)

    def interest(self, context: GrowthContext) -> Tensor:
        """Return the scores, or keys that draw in proportion to them."""
        if context.part is None:
            raise PruningError(
                "growth by link prediction needs the weights that are there, got a context without "
                "them; pass part=..."
            )
        if context.part.members > 1:
            raise PruningError(
                f"growth by link prediction looks at one graph, and {context.part.name} is that of "
                f"{context.part.members} members of an ensemble; prune one member at a time"
            )
        present = context.part.mask.reshape(-1).nonzero().squeeze(-1)
        ends = [*context.part.ends(present), context.source, context.target]
        source, target, sources, targets = (end.cpu().numpy().astype(np.int64) for end in ends)
        if context.part.is_mutual:
            source, target = np.append(source, target), np.append(target, source)
        score = torch.from_numpy(path_scores(source, target, sources, targets))
        # Equal scores, of pairs without such a path above all, are ordered at random.
        tie = torch.from_numpy(context.rng.random(len(score))) * 1e-9
        return softened((score + tie).to(context.source.device), self.temperature, context)


def path_scores(
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return CH3-L3 of the pairs (sources, targets) in the graph of the links (source, target)."""
    shape = (
        1 + max(source.max(initial=0), sources.max(initial=0)),
        1 + max(target.max(initial=0), targets.max(initial=0)),
    )
    linked = np.zeros(shape, dtype=bool)
    linked[source, target] = True
    out_degree, in_degree = linked.sum(1), linked.sum(0)
    scores = np.zeros(len(sources))
    for k, (u, v) in enumerate(zip(sources, targets, strict=True)):
        others, others_back = np.flatnonzero(linked[u]), np.flatnonzero(linked[:, v])
        paths = linked[np.ix_(others_back, others)]  # from s to t
        outside_s = out_degree[others_back] - paths.sum(1) - 1  # the one is its link to v
        outside_t = in_degree[others] - paths.sum(0) - 1
        weight = 1 / np.sqrt(np.outer(1 + outside_s, 1 + outside_t))
        scores[k] = weight[paths].sum()
    return scores
