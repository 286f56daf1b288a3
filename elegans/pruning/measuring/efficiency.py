"""Compression, speed-up and exploration rate of a pruned model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from elegans.errors import PruningError
from elegans.pruning.compact.compacting import compact
from elegans.pruning.compact.gain import Gain, measure_gain, parameter_count
from elegans.pruning.compact.held_weights import WeightHolder, dense_copy, held_weights, masked_copy
from elegans.pruning.compact.record import table
from elegans.pruning.measuring.counting import uses_of


@dataclass(frozen=True)
class LayerEfficiency:
    """The figures of one weight."""

    name: str
    """Dotted name of the weight."""
    weights: int
    remaining: int
    multiply_adds: int | None
    """Of one call with the given inputs; None if it was not counted."""
    multiply_adds_remaining: int | None
    explored: float | None
    """The share of its possible weights that were ever active; None if that was not given."""

    @property
    def speed_up(self) -> float | None:
        """Multiply-adds of the dense weight over the remaining ones."""
        if self.multiply_adds is None or self.multiply_adds_remaining is None:
            return None
        return _ratio(self.multiply_adds, self.multiply_adds_remaining)


@dataclass(frozen=True)
class Efficiency:
    """Savings by pruning, and the share of connections that training has tried."""

    layers: tuple[LayerEfficiency, ...]
    parameters: int
    """All parameters of the dense model, biases included."""
    parameters_remaining: int
    multiply_adds: int
    """Of one call of the dense model with the given inputs, in what was counted."""
    multiply_adds_remaining: int
    exploration: float | None
    """The share of possible weights that were ever active; None if that was not given."""
    measured: Gain | None
    """The dense model against the compacted one; None if not measured."""
    not_counted: tuple[str, ...]
    """Modules whose multiply-adds are unknown: the theoretical speed-up leaves them out."""

    @property
    def compression(self) -> float:
        """All parameters over the remaining ones."""
        return _ratio(self.parameters, self.parameters_remaining)

    @property
    def theoretical_speed_up(self) -> float | None:
        """Multiply-adds of the dense model over the remaining ones; None if none were counted."""
        if not self.multiply_adds:
            return None
        return _ratio(self.multiply_adds, self.multiply_adds_remaining)

    @property
    def measured_speed_up(self) -> float | None:
        """Time of the dense model over that of the compacted one; None if not measured."""
        return None if self.measured is None else self.measured.ratio

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values; what is infinite, as None."""
        return {
            "compression": _finite(self.compression),
            "theoretical_speed_up": _finite(self.theoretical_speed_up),
            "measured_speed_up": self.measured_speed_up,
            "exploration": self.exploration,
            "parameters": self.parameters,
            "parameters_remaining": self.parameters_remaining,
            "multiply_adds": self.multiply_adds,
            "multiply_adds_remaining": self.multiply_adds_remaining,
            "measured": None if self.measured is None else self.measured.to_dict(),
            "not_counted": list(self.not_counted),
            "layers": [
                vars(layer) | {"speed_up": _finite(layer.speed_up)} for layer in self.layers
            ],
        }

    def __str__(self) -> str:
        rows = [
            (
                layer.name,
                f"{layer.weights:,}",
                f"{layer.remaining:,}",
                f"{layer.remaining / max(1, layer.weights):.1%}",
                "-" if layer.multiply_adds is None else f"{layer.multiply_adds:,}",
                _text(layer.speed_up),
                "-" if layer.explored is None else f"{layer.explored:.1%}",
            )
            for layer in self.layers
        ]
        head = ("weight", "size", "left", "density", "multiply-adds", "speed-up", "explored")
        explored = "-" if self.exploration is None else f"{self.exploration:.1%}"
        gain = self.measured
        measured = "-" if gain is None else f"{gain.ratio:.2f} ({gain.low:.2f} to {gain.high:.2f})"
        lines = [
            table(head, rows),
            f"compression {_text(self.compression)} "
            f"({self.parameters:,} -> {self.parameters_remaining:,} parameters), "
            f"theoretical speed-up {_text(self.theoretical_speed_up)}, "
            f"measured {measured}, exploration {explored}",
        ]
        if self.not_counted:
            names = ", ".join(name or "(model)" for name in self.not_counted)
            lines.append(f"multiply-adds not counted: {names}")
        return "\n".join(lines)


def efficiency(
    model: nn.Module,
    inputs: Any,
    *,
    masks: Mapping[str, Tensor] | None = None,
    ever_active: Mapping[str, Tensor] | None = None,
    measured: bool = True,
    repeats: int = 15,
) -> Efficiency:
    r"""Return compression, speed-up in theory and as measured, and exploration.

    .. math::
        compression = \frac{parameters}{parameters - closed}, \quad
        speed\text{-}up = \frac{\sum_l n_l |W_l|}{\sum_l n_l |M_l|}, \quad
        exploration = \frac{|\bigcup_t M(t)|}{|W|}

    with weights W, masks M, and the number n of multiply-adds that an entry takes part in for the
    given inputs. Biases and all other parameters count in the compression, and a closed liquid
    synapse is four parameters less. A sigmoid, a bias and an activation are no multiply-adds.

    Parameters
    ----------
    model
        A pruned model, by masks or zeros.
    inputs
        A tensor, a tuple of arguments, or a mapping of arguments by name; the sizes of batch and
        sequence count, the values do not.
    masks
        Which weights are there, bool, by the dotted name of the weight, as `Pruner.masks` returns
        them; by default the masks in the model, and weights that are not zero where there is none.
    ever_active
        Which weights have ever been there, bool, by the same names, as `Pruner.ever_active`
        returns them. Of liquid synapses any array with one entry for each possible synapse.
    measured
        Whether to run the dense model against the compacted one, in turns.
    repeats
        Number of such pairs of runs.

    Raises
    ------
    PruningError
        A name is not that of a weight, a mask has another shape, or a layer has lost all weights
        and `measured` is true.

    References
    ----------
    Blalock, Gonzalez Ortiz, Frankle, Guttag, "What is the state of neural network pruning?", MLSys
    2020: compression and theoretical speed-up. Liu, Yin, Mocanu, Pechenizkiy, "Do we actually need
    dense over-parameterization? In-time over-parameterization in sparse training", ICML 2021,
    definition 1: the exploration rate.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> with torch.no_grad():
    ...     _ = model[0].weight[:, 2:].zero_()
    >>> figures = efficiency(model, torch.zeros(5, 8), measured=False)
    >>> figures.parameters, figures.parameters_remaining, figures.compression
    (46, 22, 2.090909090909091)
    >>> figures.multiply_adds, figures.multiply_adds_remaining, figures.theoretical_speed_up
    (200, 80, 2.5)
    """
    weights = held_weights(model)
    mask_of = _masks_of(weights, masks)
    tried = _tried(weights, ever_active)
    times, not_counted = uses_of(model, inputs)
    layers = []
    for name, mask in mask_of.items():
        size, remaining, count = mask.numel(), int(mask.sum()), times.get(name)
        layers.append(
            LayerEfficiency(
                name,
                size,
                remaining,
                None if count is None else count * size,
                None if count is None else count * remaining,
                _share(tried[name]) if name in tried else None,
            )
        )
    parameters = parameter_count(model)
    closed = sum(int((~mask_of[name]).sum()) * holder.each for name, holder in weights.items())
    return Efficiency(
        tuple(layers),
        parameters,
        parameters - closed,
        sum(layer.multiply_adds or 0 for layer in layers),
        sum(layer.multiply_adds_remaining or 0 for layer in layers),
        _share(torch.cat([mask.flatten().cpu() for mask in tried.values()])) if tried else None,
        _measured(model, inputs, masks, repeats) if measured else None,
        not_counted,
    )


def _masks_of(
    weights: Mapping[str, WeightHolder], masks: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Return which weights are there, by name."""
    mask_of = {name: holder.mask() for name, holder in weights.items()}
    for name, mask in (masks or {}).items():
        _check(name, mask, weights, "masks")
        if mask.shape != mask_of[name].shape:
            raise PruningError(
                f"masks[{name!r}] has shape {tuple(mask.shape)}, expected "
                f"{tuple(mask_of[name].shape)} as the weight"
            )
        mask_of[name] = mask
    return mask_of


def _tried(
    weights: Mapping[str, WeightHolder], ever_active: Mapping[str, Tensor] | None
) -> Mapping[str, Tensor]:
    """Return `ever_active`, checked."""
    for name, tried in (ever_active or {}).items():
        _check(name, tried, weights, "ever_active")
        shape = weights[name].weight().shape
        if weights[name].along is None and tried.shape != shape:
            raise PruningError(
                f"ever_active[{name!r}] has shape {tuple(tried.shape)}, expected {tuple(shape)} "
                "as the weight"
            )
    return ever_active or {}


def _check(name: str, mask: Any, weights: Mapping[str, WeightHolder], what: str) -> None:
    if name not in weights:
        raise PruningError(f"{what} holds {name!r}, expected names among {list(weights)}")
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise PruningError(f"{what}[{name!r}] must be a boolean tensor, got {got}")


def _measured(
    model: nn.Module, inputs: Any, masks: Mapping[str, Tensor] | None, repeats: int
) -> Gain:
    """Run the dense model against the compacted one.

    A masked liquid layer is slower than a dense one, so it would be no fair measure.
    """
    compacted = compact(masked_copy(model, masks) if masks else model).model
    return measure_gain(dense_copy(model), compacted, inputs, repeats=repeats, training=False)


def _share(tried: Tensor) -> float:
    return int(tried.sum()) / max(1, tried.numel())


def _ratio(before: int, after: int) -> float:
    if before == after:
        return 1.0
    return before / after if after else float("inf")


def _finite(value: float | None) -> float | None:
    return None if value == float("inf") else value


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
