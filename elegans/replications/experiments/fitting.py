"""Training of classifiers on rows that fit into memory, and their accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from elegans.data.windows import batches
from elegans.ensemble import Ensemble
from elegans.errors import PruningError
from elegans.replications.sets import ClassificationSet

_EVALUATED = 2000  # rows at once: bounds the memory of evaluating a recurrent network


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return what `make` makes when PyTorch's random numbers begin at `seed`.

    The random state of the caller is as before afterwards.

    Examples
    --------
    >>> one, same = (seeded(lambda: nn.Linear(3, 2), 5) for _ in range(2))
    >>> torch.equal(one.weight, same.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def fit_classifier(
    model: nn.Module,
    data: ClassificationSet,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float = 1e-3,
    seed: int = 0,
    optimizer: Optimizer | None = None,
    first_epoch: int = 0,
    after_step: Callable[[], object] | None = None,
) -> nn.Module:
    """Train `model` in place by Adam on the cross-entropy, and return it.

    Parameters
    ----------
    model
        Takes features (row, feature) and returns logits (row, class).
    data
        The training part.
    epochs, batch_size
        Passes over the data, and rows in a batch; the last batch of an epoch may be smaller.
    learning_rate
        Of Adam, where no optimiser is given.
    seed
        With the number of the epoch, says the order of the rows.
    optimizer
        One that holds the parameters of the model already.
    first_epoch
        Number of the first epoch, to go on with a training.
    after_step
        Called after each optimiser step, such as the `step` of a pruner.

    Raises
    ------
    PruningError
        The loss is not finite any more.

    Examples
    --------
    >>> from elegans.replications.sets import banknote_like
    >>> train, test = banknote_like().split((0.7, 0.3), standardised=True)
    >>> model = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), 0)
    >>> _ = fit_classifier(model, train, epochs=5, batch_size=50, learning_rate=1e-2)
    >>> percent_correct(model, test) > 80
    True
    """
    features, labels = data.tensors()
    if optimizer is None:
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    model.train()
    loss = torch.zeros(())
    for epoch in range(first_epoch, first_epoch + epochs):
        for rows in batches(len(data), batch_size, epoch, seed):
            at = torch.from_numpy(rows)
            optimizer.zero_grad()
            loss = cross_entropy(model(features[at]), labels[at])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if after_step is not None:
                after_step()
        if not bool(torch.isfinite(loss)):
            raise PruningError(
                f"got a training loss of {loss.item()} in epoch {epoch}, expected a finite number; "
                "lower the learning rate"
            )
    return model


def fit_ensemble(
    ensemble: Ensemble,
    data: Sequence[ClassificationSet],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float = 1e-3,
    seeds: Sequence[int],
    optimizer: Optimizer | None = None,
    after_step: Callable[[], object] | None = None,
) -> Ensemble:
    """Train all members in place at once, each as `fit_classifier` would train it alone.

    Parameters
    ----------
    ensemble
        Members take features (row, feature) and return logits (row, class).
    data
        The training part of each member, all with the same number of rows.
    seeds
        With the number of the epoch, say the order of the rows of each member.
    epochs, batch_size, learning_rate, optimizer, after_step
        As in `fit_classifier`; the optimiser works number by number, as Adam does.

    Raises
    ------
    PruningError
        There is not one training part and one seed for each member, the parts have different
        numbers of rows, or the loss of a member is not finite any more.

    Examples
    --------
    >>> from elegans.replications.sets import banknote_like
    >>> parts = [banknote_like(seed).split((1200, 172), seed) for seed in range(3)]
    >>> ensemble = Ensemble.of(lambda seed: nn.Linear(4, 2), seeds=range(3))
    >>> _ = fit_ensemble(
    ...     ensemble, [train for train, _ in parts], epochs=2, batch_size=50, seeds=range(3)
    ... )
    >>> alone = seeded(lambda: nn.Linear(4, 2), 2)
    >>> _ = fit_classifier(alone, parts[2][0], epochs=2, batch_size=50, seed=2)
    >>> torch.allclose(ensemble.member(2).weight, alone.weight, atol=1e-6)
    True
    """
    if len(data) != len(ensemble) or len(seeds) != len(ensemble):
        raise PruningError(
            f"got {len(data)} training parts and {len(seeds)} seeds, expected one of each for the "
            f"{len(ensemble)} members"
        )
    if len({len(part) for part in data}) > 1:
        raise PruningError(
            f"got training parts of {sorted({len(part) for part in data})} rows, expected one "
            "number, because members take their batches at once; split into equal parts"
        )
    pairs = [part.tensors() for part in data]
    features = torch.stack([pair[0] for pair in pairs])  # (member, row, feature)
    labels = torch.stack([pair[1] for pair in pairs])  # (member, row)
    if optimizer is None:
        optimizer = torch.optim.Adam(ensemble.parameters(), lr=learning_rate)
    member = torch.arange(len(ensemble)).unsqueeze(1)  # (member, 1)
    ensemble.train()
    for epoch in range(epochs):
        orders = [batches(len(data[0]), batch_size, epoch, seed) for seed in seeds]
        losses = torch.zeros(len(ensemble))
        for rows in zip(*orders, strict=True):
            at = torch.from_numpy(np.stack(rows))  # (member, batch)
            optimizer.zero_grad()
            losses = _cross_entropies(
                ensemble(features[member, at], own_data=True), labels[member, at]
            )
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if after_step is not None:
                after_step()
        if not bool(torch.isfinite(losses).all()):
            at_fault = int((~torch.isfinite(losses)).nonzero()[0])
            raise PruningError(
                f"got a training loss of {losses[at_fault].item()} of member {at_fault} in epoch "
                f"{epoch}, expected a finite number; lower the learning rate"
            )
    return ensemble


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of each member, shape (member,)."""
    # (member, batch, class): cross_entropy wants classes second.
    return cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(dim=1)


def logits_of(model: nn.Module, features: Tensor) -> Tensor:
    """Return logits (row, class) of all rows, in evaluation mode and without gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            parts = torch.split(features, _EVALUATED)
            return torch.cat([model(part) for part in parts])
    finally:
        model.train(was_training)


def percent_correct(model: nn.Module, data: ClassificationSet) -> float:
    """Return the percentage of rows whose class has the largest logit."""
    features, labels = data.tensors()
    return 100 * float((logits_of(model, features).argmax(1) == labels).double().mean())


def loss_of(model: nn.Module, data: ClassificationSet) -> float:
    """Return the mean cross-entropy of the rows, in nats."""
    features, labels = data.tensors()
    return float(cross_entropy(logits_of(model, features).double(), labels))
