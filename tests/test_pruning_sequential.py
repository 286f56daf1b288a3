"""Sequential pruning: levels one after the other, and what is made of their losses."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from elegans.errors import PruningError
from elegans.replications.experiments.drawing import draw_sequential
from elegans.replications.experiments.sequential import (
    SequentialPruning,
    Stage,
    prune_sequentially,
)

LEVELS = (0.5, 0.75, 0.9)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 30), nn.Tanh(), nn.Linear(30, 2))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = 2 * torch.rand(600, 3, generator=torch.Generator().manual_seed(1)) - 1
    return x, torch.stack([x[:, 0] * x[:, 1], torch.sin(2 * x[:, 2])], dim=1)


def run(model: nn.Module, optimizer: torch.optim.Optimizer, **options: object) -> SequentialPruning:
    x, y = data()
    return prune_sequentially(
        model,
        optimizer,
        lambda step: (x[64 * (step % 8) :][:64], y[64 * (step % 8) :][:64]),
        lambda m: (m(x[512:]) - y[512:]).square().mean(),
        LEVELS,
        progress=False,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.slow
def test_every_level_is_reached_and_masks_only_lose() -> None:
    model = network()
    seen: list[Stage] = []
    zeros: list[torch.Tensor] = []

    def watch(stage: Stage) -> None:
        seen.append(stage)
        zeros.append(model[0].weight.detach() == 0)
        share = float(sum((m.weight == 0).sum() for m in (model[0], model[2]))) / 150
        assert share == pytest.approx(stage.sparsity, abs=0.01)

    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    result = run(model, optimizer, evaluate_every=50, longest=4, cooling=0.1, watch=watch)
    assert result.sparsities.tolist() == [0.0, *LEVELS]
    assert tuple(seen) == result.stages
    assert all(bool((later >= earlier).all()) for earlier, later in pairwise(zeros))
    assert all(stage.steps == 200 for stage in result.stages)
    assert optimizer.param_groups[0]["lr"] == 1e-2
    assert result.losses[0, 0] < 0.1 < result.losses[-1, 0] * 10


def test_training_on_a_level_ends_when_it_has_converged() -> None:
    model = network()
    still = torch.optim.SGD(model.parameters(), 0.0)  # nothing improves
    result = run(model, still, evaluate_every=3, patience=4)
    # The first observation is an improvement on nothing, four more are none.
    assert [stage.steps for stage in result.stages] == [15, 15, 15, 15]


def test_optima_end_at_the_first_level_beyond_the_limit() -> None:
    losses = [(1e-4, 2e-3, 1e-4), (1e-4, 1e-4, 2e-3), (9e-4, 1e-4, 1e-4)]
    result = SequentialPruning(
        tuple(Stage(s, 10, each) for s, each in zip((0.0, 0.5, 0.9), losses, strict=True))
    )
    assert np.array_equal(result.optima(1e-3), [0.9, math.nan, 0.0], equal_nan=True)
    assert SequentialPruning.from_dict(result.to_dict()) == result
    figure = draw_sequential(result, limit=1e-3, published={0.0: 1e-4}, title="demo")
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == 2


def test_runs_of_one_protocol_are_joined() -> None:
    one = SequentialPruning((Stage(0.0, 9, (1.0, 2.0)), Stage(0.5, 4, (3.0, 4.0))))
    two = SequentialPruning((Stage(0.0, 9, (5.0,)), Stage(0.5, 4, (6.0,))))
    joined = SequentialPruning.joined([one, two])
    assert joined.losses.tolist() == [[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]]
    assert [stage.steps for stage in joined.stages] == [9, 4]
    other = SequentialPruning((Stage(0.0, 9, (5.0,)), Stage(0.6, 4, (6.0,))))
    with pytest.raises(PruningError, match="got 2 results of 2 different courses"):
        SequentialPruning.joined([one, other])
    with pytest.raises(PruningError, match="got 0 results"):
        SequentialPruning.joined([])


def test_what_is_refused() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(PruningError, match=r"cooling=0\.1 with longest=None"):
        run(model, optimizer, cooling=0.1)
    with pytest.raises(PruningError, match="longest must be an integer"):
        run(model, optimizer, longest=0)
    with pytest.raises(PruningError, match="the same networks"):
        SequentialPruning((Stage(0.0, 1, (1.0,)), Stage(0.5, 1, (1.0, 2.0))))
    with pytest.raises(PruningError, match="not a record of sequential pruning"):
        SequentialPruning.from_dict({"stages": [{}]})
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    with pytest.raises(PruningError, match="validation loss is nan"):
        run(model, optimizer, evaluate_every=2)
