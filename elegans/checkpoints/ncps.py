"""Exchange of layers of every family with ``ncps``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from elegans.arguments import checked, odd_tensor, shown
from elegans.capacity import require_bytes
from elegans.checkpoints import ncps_cfc, ncps_ltc
from elegans.checks import FLOATS, all_finite
from elegans.errors import InputError
from elegans.layers.cell import Cell
from elegans.layers.sequence_layer import SequenceLayer

State = Mapping[str, Tensor] | nn.Module
"""``ncps_model.state_dict()``, or the ``ncps`` layer itself."""

_FAMILIES: tuple[ModuleType, ...] = (ncps_ltc, ncps_cfc)

_CELL = "rnn_cell."
_MARK = re.compile(
    r"((?:.*?\.)??)(rnn_cell\.)?(?:layer_\d+\.)?(?:sparsity_mask|time_a\.weight|w_tau)"
)
"""Keys that every cell of ``ncps`` has one of: the prefix of its layer, the name of the cell."""

_VECTORS = ("bias", "gleak", "vleak", "cm", "put_w", "put_b")
"""Ends of the names of vectors; all else are matrices."""


@checked(InputError)
def from_ncps(saved: State, *, prefix: str | None = None, **options: Any) -> SequenceLayer:
    """Build the layer that computes what a layer of ``ncps`` computes.

    Sizes, connections, mappings, projection and mixed memory are read off the state: an
    ``ncps.torch.LTC`` becomes an `elegans.LTC`, an ``ncps.torch.CfC`` an `elegans.CfC`. In an LTC a
    synapse is present where the mask says so, with the sign of its reversal potential, which
    ``ncps`` may have changed while training. A wired CfC becomes one with
    ``ncps_connections=True``.

    Parameters
    ----------
    saved
        ``ncps_model.state_dict()``, or the ``ncps`` layer itself; the state of a module that holds
        one, a checkpoint of Lightning, or the state of a cell, which becomes that of a layer.
    prefix
        What the keys of the layer begin with, such as ``"encoder."``; found by itself where there
        is one layer of ``ncps``.
    **options
        Arguments that a state does not hold. LTC: ``ode_unfolds``, ``epsilon``,
        ``implicit_param_constraints``; ``layers``, the names and sizes of the layers, motor first,
        by default ``motor`` for as many neurons as the output mapping has and ``inter`` for the
        rest (needed where there is no output mapping). CfC: ``mode="no_gate"``, ``activation``,
        ``backbone_dropout``. Both: ``batch_first``, ``return_sequences``.

    Returns
    -------
    LTC or CfC

    Raises
    ------
    InputError
        The state is not one of an ``ncps`` LTC or CfC, or of several without a `prefix`.

    Examples
    --------
    >>> import elegans, torch
    >>> from elegans.wiring import AutoNCP
    >>> model = elegans.LTC(2, AutoNCP(units=8, output_size=1))
    >>> twin = from_ncps(to_ncps(model))
    >>> x = torch.randn(1, 5, 2)
    >>> torch.equal(twin(x)[0], model(x)[0])
    True
    """
    state = _state(saved, prefix)
    layer: SequenceLayer = _family_of_state(state).build(state, **options)
    return layer


@checked(InputError)
def load_ncps(model: SequenceLayer, saved: State, *, prefix: str | None = None) -> None:
    """Load what ``ncps`` saved into a layer of the same family, connections and sizes.

    Parameters
    ----------
    model
        An `elegans.LTC` or `elegans.CfC`.
    saved, prefix
        As in `from_ncps`.

    Raises
    ------
    InputError
        Family, connections or sizes differ, or the state is not of ``ncps``; nothing is changed.

    Examples
    --------
    >>> import elegans
    >>> first, second = elegans.CfC(2, 5), elegans.CfC(2, 5)
    >>> load_ncps(second, to_ncps(first))
    """
    state, family = _state(saved, prefix), _family_of_layer(model)
    if family is not _family_of_state(state):
        raise InputError(
            f"the state is not of the family of {type(model).__name__}; "
            "elegans.from_ncps(state) builds the layer that it is of"
        )
    family.load(model, state)


@checked(InputError)
def to_ncps(model: SequenceLayer | Cell, *, prefix: str = "") -> dict[str, Tensor]:
    """Return the parameters of a layer as the ``ncps`` layer of the same wiring holds them.

    Entries of absent synapses, which have no effect there, are those of a neutral synapse.

    Parameters
    ----------
    model
        An `elegans.LTC`, or an `elegans.CfC` that is dense or has ``ncps_connections``; or the cell
        of one, for a cell of ``ncps``.
    prefix
        What the keys shall begin with, for a module that holds a layer.

    Returns
    -------
    dict
        For ``ncps_model.load_state_dict``.

    Raises
    ------
    InputError
        Matrices cannot hold the layer: it has parallel synapses, gap junctions, or connections that
        ``ncps`` does not have.

    Examples
    --------
    >>> import elegans
    >>> sorted(to_ncps(elegans.LTC(2, 3)))[:3]
    ['rnn_cell.cm', 'rnn_cell.erev', 'rnn_cell.gleak']
    """
    is_cell = isinstance(model, Cell)
    layer = SequenceLayer(model) if isinstance(model, Cell) else model
    state: dict[str, Tensor] = _family_of_layer(model).save(layer)
    return {prefix + key.removeprefix(_CELL if is_cell else ""): v for key, v in state.items()}


def _part(state: Any, prefix: str | None) -> Any:
    """Return the part of a state that is of a layer of ``ncps``, as the layer itself has it."""
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]  # a checkpoint of Lightning
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        return state
    # Prefixes, and whether a layer is there or a cell.
    places = {found[1]: found[2] for key in state if (found := _MARK.fullmatch(key))}
    if prefix is None and len(places) > 1:
        raise InputError(
            f"the state holds {len(places)} layers of ncps, expected the prefix of one, such as "
            f"prefix={min(places)!r}; they are {sorted(places)}"
        )
    prefix = next(iter(places), None) if prefix is None else prefix
    if prefix is None:
        return state
    if prefix not in places:
        raise InputError(
            f"the state holds no layer of ncps with the prefix {prefix!r}, expected one of "
            f"{sorted(places)}"
        )
    start = "" if places[prefix] else _CELL
    return {
        start + key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix)
    }


def _state(saved: State, prefix: str | None) -> dict[str, Tensor]:
    """Return a state whose entries are vectors and matrices of finite numbers, masks of 0 and 1."""
    state = _part(saved.state_dict() if isinstance(saved, nn.Module) else saved, prefix)
    if not isinstance(state, Mapping) or not any(_is_state(family, state) for family in _FAMILIES):
        contents = [*state][:6] if isinstance(state, Mapping) else shown(state)
        raise InputError(
            f"this is not the state_dict() of an ncps.torch.LTC or CfC: got {contents}; pass the "
            "whole ncps_model.state_dict(), whose keys begin with 'rnn_cell.'"
        )
    return {key: _entry(key, value) for key, value in state.items()}


def _is_state(family: ModuleType, state: Mapping[str, Tensor]) -> bool:
    return all(isinstance(key, str) for key in state) and family.is_state(state)


def _entry(key: str, value: Any) -> Tensor:
    """Return an entry of a state, detached; raise `InputError` unless it can be one of ncps."""
    dimensions = 1 if key.endswith(_VECTORS) else 2
    expected = f"a dense {'vector' if dimensions == 1 else 'matrix'} of finite numbers"
    if not isinstance(value, Tensor):
        got = f"a {type(value).__name__}"
    elif odd_tensor(value) or value.dtype not in FLOATS:
        got = f"a tensor {odd_tensor(value) or f'of {value.dtype}'}"
    elif value.dim() != dimensions:
        got = f"shape {tuple(value.shape)}"
    else:
        require_bytes(value.numel() * value.element_size(), key, "the state is damaged")
        entry: Tensor = value.detach()
        if not all_finite(entry):
            got = "values that are not"
        elif key.endswith("sparsity_mask") and not bool(((entry == 0) | (entry == 1)).all()):
            got, expected = "other values", "a mask of 0 and 1"
        else:
            return entry
    raise InputError(
        f"{key!r} of the state holds {got}, expected {expected}; pass ncps_model.state_dict() as "
        "it is"
    )


def _family_of_state(state: Mapping[str, Tensor]) -> ModuleType:
    return next(family for family in _FAMILIES if family.is_state(state))


def _family_of_layer(model: nn.Module) -> ModuleType:
    for family in _FAMILIES:
        if isinstance(model, (family.LAYER, *family.CELLS)):
            return family
    raise InputError(
        f"ncps has no layer like {type(model).__name__}, expected an elegans.LTC or elegans.CfC"
    )
