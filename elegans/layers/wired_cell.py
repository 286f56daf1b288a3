"""The base of cells on a wiring: sizes, mappings, the circuit in the state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Unpack

import torch
from torch import Tensor

from elegans.checks import Placement, check_dtype, check_keywords
from elegans.errors import InputError
from elegans.layers.cell import Cell, as_wiring
from elegans.layers.mapping import ElementwiseMapping
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import Recipe, Synapses, Wiring


class WiredCell(Cell):
    """A cell whose connections lie in slots; a subclass adds their values and the step.

    Parameters
    ----------
    wiring
        A wiring, a recipe, or a number of fully connected neurons.
    in_features
        Number of inputs; may be left out when `wiring` is a wiring.
    input_mapping, output_mapping
        ``"affine"``, ``"linear"`` or None: element-wise map of the inputs and of the outputs.
    outputs
        Number of outputs if it is not that of the motor neurons.
    **factory_kwargs
        ``device`` and ``dtype`` of the parameters.

    Raises
    ------
    InputError
        The wiring was made for another number of inputs, or an argument is not valid.
    """

    layer_sizes: Tensor

    def __init__(
        self,
        wiring: int | Recipe | Wiring,
        in_features: int | None,
        input_mapping: str | None,
        output_mapping: str | None,
        *,
        outputs: int | None = None,
        **factory_kwargs: Unpack[Placement],
    ) -> None:
        super().__init__()
        check_keywords(type(self), factory_kwargs)
        check_dtype(factory_kwargs.get("dtype"))
        self._blueprint = as_wiring(wiring, in_features)
        self.input_mapping = ElementwiseMapping(input_mapping, self.sensory_size, **factory_kwargs)
        outputs = self.motor_size if outputs is None else outputs
        self.output_mapping = ElementwiseMapping(output_mapping, outputs, **factory_kwargs)
        # Travels with the state, so that one of a circuit with other layers is recognised.
        sizes = torch.tensor(
            list(self._blueprint.layers.values()), device=factory_kwargs.get("device")
        )
        self.register_buffer("layer_sizes", sizes)

    @abstractmethod
    def synapse_sets(self) -> Mapping[str, SynapseSlots]:
        """Return the synapses by the name of their module; ``...sensory`` are from inputs."""

    def drawn(self, name: str) -> Synapses:
        """Return the connections that a set of synapses was made with."""
        synapses: Synapses = getattr(self._blueprint, name)
        return synapses

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew and return to the wiring that the cell was made with.

        For a cell made on the meta device: ``cell.to_empty(device=...)``, then this.
        """
        for name, synapses in self.synapse_sets().items():
            synapses.reset_parameters(self.drawn(name), generator)
        self.input_mapping.reset_parameters()
        self.output_mapping.reset_parameters()
        self.layer_sizes.copy_(torch.tensor(list(self._blueprint.layers.values())))

    @property
    def wiring(self) -> Wiring:
        """The circuit as it is now."""
        sets = self.synapse_sets()
        return self._blueprint.with_synapses(
            sets["recurrent"].synapses(), sets["sensory"].synapses()
        )

    @property
    def state_size(self) -> int:
        """Number of neurons."""
        return self._blueprint.units

    @property
    def sensory_size(self) -> int:
        """Number of inputs."""
        return self._blueprint.input_size

    @property
    def motor_size(self) -> int:
        """Number of motor neurons."""
        return self._blueprint.output_size

    @property
    def synapse_count(self) -> int:
        """Number of open synapses between neurons."""
        return self.synapse_sets()["recurrent"].open_count

    @property
    def sensory_synapse_count(self) -> int:
        """Number of open synapses from the inputs."""
        return self.synapse_sets()["sensory"].open_count

    def read(self, state: Tensor) -> Tensor:
        """Return the mapped states of the motor neurons, shape (..., output)."""
        output: Tensor = self.output_mapping(state[..., : self.motor_size])
        return output

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments that build such a cell, without wiring and precision."""
        return {
            "input_mapping": self.input_mapping.kind,
            "output_mapping": self.output_mapping.kind,
        }

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Everything is checked before anything is copied.
        sizes = state_dict.get(prefix + "layer_sizes")
        if (
            isinstance(sizes, Tensor)
            and not sizes.is_meta
            and sizes.tolist() != [*self._blueprint.layers.values()]
        ):
            raise InputError(
                f"the saved state is of layers of {sizes.tolist()} neurons, motor first, this "
                f"circuit has {dict(self._blueprint.layers)}; build the layer from the wiring the "
                "state was saved with"
            )
        self._check_connections(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check_connections(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Raise `InputError` unless the connections in a state fit this cell."""
        for name, slots in self.synapse_sets().items():
            sources = self.sensory_size if name.endswith("sensory") else self.state_size
            slots.check_state(state_dict, f"{prefix}{name}.", sources, self.state_size)
