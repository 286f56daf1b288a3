"""What layers whose synapses cannot be rewired must do besides `LayerConformance`."""

import copy

import pytest
import torch
from layer_conformance import LayerConformance
from torch.nn.utils import prune

from elegans.errors import InputError


class ConnectionConformance(LayerConformance):
    """`LayerConformance` for layers that list their synapses in `cell.connections()`."""

    def test_a_damaged_state_changes_nothing(self):
        for name in self.make().cell.connections():
            self.damage(name)

    def damage(self, name):
        model = self.make()
        before = copy.deepcopy(model.state_dict())
        for key, value, message in (
            ("target", 99, "must hold indices from 0 to"),
            ("source", -1, "must hold indices from 0 to"),
            ("polarity", 0, r"must hold \+1 and -1 only"),
        ):
            state = copy.deepcopy(self.make().state_dict())
            state[f"cell.{name}.{key}"][0] = value
            with pytest.raises(InputError, match=message):
                model.load_state_dict(state)
        state = copy.deepcopy(self.make().state_dict())
        del state[f"cell.{name}.source"]
        with pytest.raises(InputError, match=r"lacks \['source'\]"):
            model.load_state_dict(state, strict=False)
        state = copy.deepcopy(self.make().state_dict())
        for key in ("source", "target", "polarity"):
            state[f"cell.{name}.{key}"] = state[f"cell.{name}.{key}"][1:]
        with pytest.raises(InputError, match="build the layer from the wiring the state was"):
            model.load_state_dict(state)
        state = copy.deepcopy(self.make().state_dict())
        state["cell.layer_sizes"] += 1
        with pytest.raises(InputError, match=r"neurons, motor first, this circuit has"):
            model.load_state_dict(state)
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key])

    def weighted(self, model):
        """Return the modules that hold the weight of synapses, and its name in them."""
        raise NotImplementedError

    def test_a_pruned_synapse_stays_closed_while_the_rest_trains(self):
        model = self.make()
        x = self.inputs()
        for module, name in self.weighted(model):
            prune.l1_unstructured(module, name, amount=0.5)
            closed = getattr(module, f"{name}_mask") == 0
            assert closed.any()
            before = getattr(module, name).detach().clone()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for _ in range(2):
                optimizer.zero_grad()
                model(x)[1].square().sum().backward()
                optimizer.step()
            model(x)  # the mask is applied before a step
            after = getattr(module, name)
            assert not after[closed].any()
            assert (after[~closed] != before[~closed]).any()
