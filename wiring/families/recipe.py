"""The contract of a family of wirings, and what families share in drawing."""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elegans.capacity import require_bytes
from elegans.errors import WiringError
from elegans.wiring.ncps_names import NcpsNames
from elegans.wiring.synapses import Synapses
from elegans.wiring.wiring import Wiring

_BYTES = 64  # a synapse, at the most crowded moment of drawing it


class Recipe(NcpsNames):
    """Instructions for drawing a wiring: a frozen value with a seed.

    Families derive from this class as frozen dataclasses, validate their arguments on
    construction, and draw the same wiring every time `build` is called with the same input size,
    on every platform. A recipe is never changed by building, so one may serve many layers.
    Every family also says its `units` and `output_size`, which do not depend on the input.

    Examples
    --------
    A chain from the inputs to one motor neuron:

    >>> from dataclasses import dataclass
    >>> from elegans.wiring import Synapses
    >>> @dataclass(frozen=True)
    ... class Chain(Recipe):
    ...     units: int
    ...     output_size: int = 1
    ...
    ...     def build(self, input_size):
    ...         last = self.units - 1
    ...         chain = Synapses(range(1, self.units), range(last), [1] * last)
    ...         sensory = Synapses(range(input_size), [last] * input_size, [1] * input_size)
    ...         return Wiring(input_size, {"motor": 1, "inter": last}, chain, sensory)
    >>> Chain(4).build(input_size=2)
    Wiring(2 sensory, 3 inter, 1 motor; 3 synapses, 2 sensory synapses)
    """

    @abstractmethod
    def build(self, input_size: int) -> Wiring:
        """Draw the wiring for `input_size` sensory neurons."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "build" in cls.__dict__:
            cls.build = _remembered(cls.build)  # type: ignore[method-assign]

    def wiring_for(self, input_size: int) -> Wiring:
        """Return the wiring that a layer of `input_size` inputs takes."""
        return self.build(input_size)

    # --- what users of ncps read; see `NcpsNames` ------------------------------------------

    def is_built(self) -> bool:
        """Return whether it was built, by hand or by a layer that got it."""
        return bool(self.__dict__.get(_BUILT))

    def as_built(self) -> Wiring:
        """Return the wiring that was built last.

        Raises
        ------
        WiringError
            It was never built, or for several numbers of inputs.
        """
        built: dict[int, Wiring] = self.__dict__.get(_BUILT, {})
        if len(built) == 1:
            (wiring,) = built.values()
            return wiring
        name = type(self).__name__
        if not built:
            raise WiringError(
                f"this {name} is not built yet, as the number of inputs is not known; call "
                "build(input_size), or give it to a layer first"
            )
        raise WiringError(
            f"this {name} was built for {' and '.join(map(str, sorted(built)))} inputs, expected "
            "one number of them; ask the wiring that build(input_size) returned, or model.wiring"
        )

    def _neurons_and_layers(self) -> Wiring:
        if self.is_built():
            return self.as_built()
        draw = inspect.unwrap(type(self).build)
        wiring: Wiring = draw(self, 1)  # not remembered: nobody has asked for one input
        return wiring

    @property
    def adjacency_matrix(self) -> NDArray[np.int32]:
        """Polarities ``[source, target]``, 0 where no synapse is.

        Before it is built, and where the drawing begins with the inputs, there is none.
        """
        if self.is_built():
            return super().adjacency_matrix
        units = self._neurons_and_layers().units
        return self._drawn_without_inputs().adjacency(units, units).astype(np.int32)

    def _drawn_without_inputs(self) -> Synapses:
        """Return the synapses between neurons that do not depend on the number of inputs."""
        return Synapses.empty()

    @property
    def synapse_count(self) -> int:
        """Number of synapses between neurons; 0 before it is built, as `adjacency_matrix`."""
        return int(np.abs(self.adjacency_matrix).sum())

    @property
    def sensory_synapse_count(self) -> int:
        """Number of synapses from the inputs, once it is built."""
        return self.as_built().sensory_synapse_count

    def get_config(self) -> dict[str, Any]:
        """Return the arguments by name."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # every family is a dataclass
        return {field.name: getattr(self, field.name) for field in fields}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Recipe:
        """Return the recipe of which `get_config` told."""
        return cls(**config)


_BUILT = "_built"
"""Where a recipe keeps the wirings that it was built into, by inputs: no field, no part of it."""


def _remembered(build: Callable[..., Wiring]) -> Callable[..., Wiring]:
    """Return `build`, after which the recipe knows what it has built."""

    @wraps(build)
    def wrapper(self: Recipe, *arguments: Any, **keywords: Any) -> Wiring:
        wiring = build(self, *arguments, **keywords)
        if isinstance(wiring, Wiring):  # one that is built by hand returns nothing
            self.__dict__.setdefault(_BUILT, {})[wiring.input_size] = wiring
        return wiring

    return wrapper


def check_share(name: str, value: float, least: float = 0.0) -> None:
    """Raise `WiringError` unless `value`, a probability or a share, lies in [least, 1]."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or not least <= value <= 1.0:
        raise WiringError(
            f"{name} must be a number from {least:g} to 1, got {value!r}; 50 % is written as 0.5"
        )


def check_room(
    recipe: Recipe, synapses: int | float, *, each: int = _BYTES, scratch: int = 0
) -> None:
    """Raise `InputError` unless so many synapses, and what is `scratch`, fit into memory.

    Called before anything of that size is made.
    """
    synapses = int(synapses)
    require_bytes(
        synapses * each + int(scratch),
        f"drawing a wiring of {synapses} synapses by {type(recipe).__name__}",
        "take fewer neurons or fewer synapses",
    )


def check_fan(name: str, fan: int, layer: str, size: int) -> None:
    """Raise `WiringError` unless `fan` distinct neurons can be chosen from a layer of `size`."""
    if isinstance(fan, bool) or not isinstance(fan, int | np.integer) or not 1 <= fan <= size:
        raise WiringError(
            f"{name} must be an integer from 1 to the {size} {layer} neurons, got {fan!r}; "
            f"lower {name} or enlarge the {layer} layer"
        )


def check_seed(name: str, seed: int, most: int | None = None) -> None:
    """Raise `WiringError` unless `seed` is an integer from 0 to `most`."""
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or seed < 0 or (most is not None and seed > most):
        limit = "of at least 0" if most is None else f"from 0 to {most}"
        raise WiringError(f"{name} must be an integer {limit}, got {seed!r}")


class GrowingSynapses:
    """Collects synapses; drawing a pair again replaces its polarity."""

    BYTES = 320
    """Approximate memory of a synapse while it is collected and frozen."""

    def __init__(self) -> None:
        self._polarity: dict[tuple[int, int], int] = {}

    def add(self, source: int, target: int, polarity: int) -> None:
        """Add the synapse, or replace the polarity of the one that is there."""
        self._polarity[int(source), int(target)] = int(polarity)

    def freeze(self) -> Synapses:
        """Return what was collected."""
        return Synapses.from_rows((j, i, p) for (j, i), p in self._polarity.items())


Numbers = NDArray[np.int64]


def distinct(numbers: Numbers) -> Numbers:
    """Return the different ones of `numbers` in ascending order; sorts them in place.

    Several times as fast as `numpy.unique`, which may build a hash table.
    """
    numbers.sort()
    first = np.ones(len(numbers), dtype=bool)
    np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    return numbers[first]


def without(numbers: Numbers, known: Numbers) -> Numbers:
    """Return those of `numbers` that are not among `known`, which are in ascending order."""
    if not len(known):
        return numbers
    place = np.searchsorted(known, numbers)
    np.minimum(place, len(known) - 1, out=place)
    new: Numbers = numbers[known[place] != numbers]
    return new
