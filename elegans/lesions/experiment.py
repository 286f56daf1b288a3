"""The lesion study: every lesion of a circuit as a member of one ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812  # the name every torch reader knows
from torch import Tensor

from elegans.arguments import checked, shown
from elegans.capacity import available_bytes
from elegans.checks import as_computed, check_choice, check_count
from elegans.ensemble.ensemble import Ensemble, Loss, member_losses
from elegans.errors import InputError
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer
from elegans.lesions.silencing import KINDS, Model, Site, prepared, silence, sites_of
from elegans.lesions.study import LesionStudy, study_of

Kind = Literal["neurons", "synapses", "inputs"]

Evaluate = Callable[[Ensemble], Any]
"""Takes the network of all lesions and returns its scores, (member,)."""

_SHARE = 1 / 8
"""Of the available memory that the members and the states of data may take."""
_COPIES = 4
"""Of parameters and of states that a run holds at a time."""
_MOST = 512
"""Members at once: more are not faster, and do not fit into caches."""


@checked(InputError)
def lesion(
    model: SequenceLayer | Readout,
    evaluate: Evaluate | tuple[Any, Any],
    *,
    kinds: Kind | Sequence[Kind] = ("neurons", "synapses"),
    loss: Loss = F.mse_loss,
    greater_is_better: bool = False,
    at_once: int | None = None,
) -> LesionStudy:
    """Silence each neuron and each synapse of a circuit in turn, and see what the task needs.

    All lesions are members of one `Ensemble`, so that a single batched run scores them. A silenced
    synapse, or gap junction, contributes nothing, like a pruned one. Nothing sees a silenced
    neuron: the synapses that it sends and its gap junctions are closed, and what else reads its
    potential (output map, readout, memory) reads zero. Nothing sees a silenced input either. The
    model itself is left as it is.

    Parameters
    ----------
    model
        A layer on a wiring, with a `Readout` or without, with mixed memory or without.
    evaluate
        A pair (x, y): inputs (batch, time, input) and what `loss` compares the outputs with. Or a
        function of the network that returns one score a member, (member,). The network is an
        `Ensemble`: called like the layer, in evaluation mode and without gradients, its outputs
        and states have a leading member axis, and ``len(network)`` is the number of members. It is
        called once for each group of `at_once` members, each time at the same random state of
        PyTorch, that before the study.
    kinds
        What to silence: ``"neurons"``, ``"synapses"``, ``"inputs"``, or several.
    loss
        Of the output of one network and y; used with a pair.
    greater_is_better
        Whether a larger score is a better one, as a return is; otherwise scores are losses.
    at_once
        How many members run together; by default as many as memory allows, 512 at most. Results
        are the same.

    Returns
    -------
    LesionStudy
        The intact score and a record of each lesion, what the task needs most first.

    Raises
    ------
    InputError
        The model is no layer, has no synapses or nothing of these kinds; scores are not finite, or
        not one a member; y does not fit the outputs; another argument is not valid.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(2, AutoNCP(12, 1))
    >>> x, y = torch.randn(8, 10, 2), torch.randn(8, 10, 1)
    >>> study = lesion(model, (x, y))
    >>> len(study) == 12 + model.synapse_count + model.sensory_synapse_count
    True
    >>> def worst(network):
    ...     output, state = network(x)  # (member, batch, time, output)
    ...     return (output - y).abs().amax((1, 2, 3))
    >>> lesion(model, worst, kinds=["inputs"]).to_frame()["name"].sort_values().tolist()
    ['sensory_0', 'sensory_1']
    """
    if not isinstance(model, SequenceLayer | Readout):
        raise InputError(
            f"got {type(model).__name__}, expected a layer on a wiring such as elegans.LTC, or a "
            "Readout of one; pass the layer inside your module"
        )
    chosen = _checked_kinds(kinds)
    sites = sites_of(model, chosen)
    work = prepared(model) if "neurons" in chosen else model
    data = None
    if not callable(evaluate):
        data = _checked_data(evaluate, model)
        evaluate = _losses(*data, loss)
    elif loss is not F.mse_loss:
        raise InputError(
            f"got loss={shown(loss)} and a function that scores, expected one of them; pass data "
            "(x, y) in place of the function"
        )
    at_once = _fitting(model, data) if at_once is None else check_count("at_once", at_once)
    cases: list[Site | None] = [None, *sites]
    scores: list[float] = []
    for first in range(0, len(cases), at_once):
        scores += _scores(work, cases[first : first + at_once], evaluate)
    return study_of(model, sites, scores[0], scores[1:], greater_is_better)


def _checked_kinds(kinds: Any) -> tuple[str, ...]:
    chosen = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in chosen:
        check_choice("kinds", kind, KINDS)
    if not chosen or len({*chosen}) < len(chosen):
        raise InputError(
            f"got kinds={shown(kinds)}, expected at least one of {list(KINDS)}, each of them once"
        )
    return chosen


def _scores(work: Model, sites: Sequence[Site | None], evaluate: Evaluate) -> list[float]:
    """Return the scores of some members, of which each has a site silenced."""
    network = Ensemble([work] * len(sites)).eval()
    silence(network.stacked, work, sites)
    with torch.random.fork_rng(range(torch.cuda.device_count())), torch.no_grad():
        answer = evaluate(network)
    return _checked_scores(answer, sites)


def _checked_scores(answer: Any, sites: Sequence[Site | None]) -> list[float]:
    try:
        scores = torch.as_tensor(answer)
        real = scores.detach().cpu().double() if not scores.is_complex() else None
    except (TypeError, ValueError, RuntimeError):
        real = None
    if real is None or real.shape != (len(sites),):
        got = shown(answer) if real is None else f"scores of shape {tuple(real.shape)}"
        raise InputError(
            f"got {got} of {len(sites)} members, expected one real number each, shape "
            f"({len(sites)},); reduce over all axes but the first, as in "
            "(output - y).square().flatten(1).mean(1)"
        )
    for site, score in zip(sites, real.tolist(), strict=True):
        if not math.isfinite(score):
            where = "the intact circuit"
            if site is not None:
                where = f"the circuit without {site.place.kind} {site.place.name!r}"
            raise InputError(
                f"got a score of {score} for {where}, expected a finite number; clip it, or leave "
                "out the samples that have none"
            )
    return [float(score) for score in real]


# --- data --------------------------------------------------------------------------------


def _checked_data(given: Any, model: Model) -> tuple[Tensor, Any]:
    pair = tuple(given) if isinstance(given, tuple | list) else ()
    if len(pair) != 2:
        raise InputError(
            f"got evaluate={shown(given)}, expected a function of the network that returns a score "
            "a member, or data (x, y)"
        )
    layer = circuit_of(model)
    home = next(model.parameters()).device
    x = as_computed("x", _as_tensor("x", pair[0]), layer.cell.dtype, home)
    return x, _as_tensor("y", pair[1]).to(home)


def _as_tensor(name: str, given: Any) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name} must hold numbers, got {type(given).__name__}; pass a tensor or an array, or "
            "a function that scores in place of data"
        ) from error


def _losses(x: Tensor, y: Tensor, loss: Loss) -> Evaluate:
    def evaluate(network: Ensemble) -> Tensor:
        output = network(x)[0]
        if loss is not F.mse_loss:
            return member_losses(output, y, loss)
        if output.shape[1:] != y.shape:
            raise InputError(
                f"y has shape {tuple(y.shape)}, expected {tuple(output.shape[1:])} as the outputs "
                "have; pass loss=... for targets of another kind"
            )
        return member_losses(output, y.to(output.dtype))

    return evaluate


def _fitting(model: Model, data: tuple[Tensor, Any] | None) -> int:
    """Return how many members may run together."""
    tensors = (*model.parameters(), *model.buffers())
    each = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if data is not None:
        layer, x = circuit_of(model), data[0]
        steps = x.numel() // max(1, layer.input_size)
        width = layer.input_size + layer.state_size + model.output_size
        each += steps * width * x.element_size()
    home = tensors[0].device
    available = torch.cuda.mem_get_info(home)[0] if home.type == "cuda" else available_bytes()
    if available is None:
        return _MOST
    return int(min(max(available * _SHARE // (_COPIES * max(1, each)), 1), _MOST))
