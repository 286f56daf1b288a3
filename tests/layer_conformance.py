"""What every recurrent layer must do; a layer's test class inherits it and supplies `make`."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrize, prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import elegans
from elegans.ensemble import Ensemble
from elegans.errors import InputError, SolveError
from elegans.layers.cell import WiredCell
from elegans.layers.readout import Readout
from elegans.layers.registry import layer_classes
from elegans.pruning import Pruner, PruneRewire, Relative

INPUTS, OUTPUTS = 3, 2


class LayerConformance:
    """Inherit, and define `make(**options)` for a layer of 3 inputs and 2 outputs."""

    def make(self, **options):
        raise NotImplementedError

    def inputs(self, batch=4, time=6, dtype=torch.float32, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, time, INPUTS, generator=generator).to(dtype)

    def tied(self, **options):
        """Return a plain layer and one with `options` and the same parameters."""
        plain, other = self.make(), self.make(**options)
        other.load_state_dict(plain.state_dict())
        return plain, other

    # --- shapes --------------------------------------------------------------------------

    @pytest.mark.parametrize("batch", [1, 2, 5])
    @pytest.mark.parametrize("time", [1, 6])
    def test_shapes(self, batch, time):
        model = self.make()
        output, state = model(self.inputs(batch, time))
        assert output.shape == (batch, time, OUTPUTS)
        assert state.shape == (batch, model.state_size)

    def test_time_first_is_a_transposition(self):
        plain, other = self.tied(batch_first=False)
        x = self.inputs()
        timespans = torch.rand(4, 6)
        output, state = plain(x, timespans=timespans)
        mine, my_state = other(x.transpose(0, 1), timespans=timespans.t())
        assert torch.equal(mine.transpose(0, 1), output)
        assert torch.equal(my_state, state)

    @pytest.mark.parametrize("batch_first", [True, False])
    def test_one_sequence_needs_no_batch_axis(self, batch_first):
        model = self.make(batch_first=batch_first)
        x, timespans = self.inputs(1), torch.rand(6)
        axis = 0 if batch_first else 1
        batch = x if batch_first else x.transpose(0, 1)
        output, state = model(batch, timespans=timespans.unsqueeze(axis))
        alone, own_state = model(x[0], timespans=timespans)
        assert alone.shape == (6, OUTPUTS)
        assert torch.equal(alone, output.squeeze(axis))
        assert own_state.shape == (model.state_size,)
        assert torch.equal(own_state, state[0])
        again, _ = model(x[0], hx=own_state)
        assert again.shape == (6, OUTPUTS)

    def test_last_output_only(self):
        plain, other = self.tied(return_sequences=False)
        x = self.inputs()
        assert torch.equal(other(x)[0], plain(x)[0][:, -1])

    def test_states_on_request(self):
        model = self.make()
        x = self.inputs()
        output, state, states = model(x, return_states=True)
        assert states.shape == (4, 6, model.state_size)
        assert torch.equal(states[:, -1], state)
        assert torch.equal(model(x)[0], output)
        one, _, own = model(x[0], return_states=True)
        assert (one.shape, own.shape) == ((6, OUTPUTS), (6, model.state_size))

    def test_empty_sequence_keeps_the_state(self):
        model = self.make()
        hx = torch.randn(4, model.state_size)
        output, state = model(self.inputs(time=0), hx)
        assert output.shape == (4, 0, OUTPUTS)
        assert torch.equal(state, hx)

    # --- meaning -------------------------------------------------------------------------

    def test_state_carries_over(self):
        model = self.make()
        x = self.inputs()
        whole, final = model(x)
        first, hx = model(x[:, :2])
        second, last = model(x[:, 2:], hx)
        torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
        torch.testing.assert_close(last, final)

    def test_samples_do_not_interact(self):
        model = self.make(dtype=torch.float64)
        x = self.inputs(dtype=torch.float64)
        timespans = torch.rand(4, 6, dtype=torch.float64)
        output, _ = model(x, timespans=timespans)
        for b in range(4):
            alone, _ = model(x[b], timespans=timespans[b])
            torch.testing.assert_close(alone, output[b], rtol=1e-12, atol=1e-12)

    def test_timespans_default_to_one(self):
        model = self.make()
        x = self.inputs()
        assert torch.equal(model(x, timespans=torch.ones(4, 6))[0], model(x)[0])

    def test_timespans_for_as_many_samples_as_neurons(self):
        model = self.make(dtype=torch.float64)
        batch = model.state_size
        x = self.inputs(batch, dtype=torch.float64)
        timespans = torch.rand(batch, 6, dtype=torch.float64)
        output, _ = model(x, timespans=timespans)
        with_axis, _ = model(x, timespans=timespans.unsqueeze(-1))
        assert torch.equal(with_axis, output)
        torch.testing.assert_close(model(x[2], timespans=timespans[2])[0], output[2])

    def test_zero_elapsed_time_is_an_exact_no_op(self):
        model = self.make()
        hx = torch.randn(4, model.state_size)
        timespans = torch.rand(4, 6)
        timespans[1] = 0
        timespans[2, 3:] = 0
        _, state, states = model(self.inputs(), hx, timespans, return_states=True)
        assert torch.equal(states[1], hx[1].expand(6, -1))
        assert torch.equal(state[1], hx[1])
        assert torch.equal(states[2, 2:], states[2, 2].expand(4, -1))

    def test_padding_has_no_effect(self):
        model = self.make()
        lengths = torch.tensor([6, 3, 0, 5])
        x = self.inputs()
        padded = x.clone()
        for b, length in enumerate(lengths):
            padded[b, length:] = float("nan")
        output, state = model(padded, lengths=lengths)
        for b, length in enumerate(lengths):
            alone, own = model(x[b, :length])
            torch.testing.assert_close(output[b, :length], alone)
            torch.testing.assert_close(state[b], own)
            last = alone[-1] if length else model.cell.read(torch.zeros(model.state_size))
            torch.testing.assert_close(output[b, length:], last.expand(6 - length, -1))

    def test_padding_gets_no_gradient(self):
        model = self.make()
        x = self.inputs().requires_grad_()
        model(x, lengths=torch.tensor([6, 3, 0, 5]))[0].sum().backward()
        assert torch.isfinite(x.grad).all()
        assert not x.grad[1, 3:].any()
        assert not x.grad[2].any()
        assert x.grad[1, :3].any()

    # --- gradients -----------------------------------------------------------------------

    def test_gradients_of_every_parameter(self):
        model = self.make()
        model(self.inputs())[0].square().sum().backward()
        for name, parameter in model.named_parameters():
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name

    @pytest.mark.slow
    def test_gradcheck(self):
        model = self.make(dtype=torch.float64)
        x = self.inputs(2, 3, dtype=torch.float64).requires_grad_()
        hx = torch.randn(2, model.state_size, dtype=torch.float64, requires_grad=True)
        timespans = torch.tensor([[1.0, 0.0, 0.3], [0.5, 2.0, 1.0]], dtype=torch.float64)
        timespans.requires_grad_()
        names, values = zip(*model.named_parameters(), strict=True)

        def function(x, hx, timespans, *values):
            parameters = dict(zip(names, values, strict=True))
            return torch.func.functional_call(model, parameters, (x, hx, timespans))[0]

        # At elapsed time 0 a central difference would step to negative times.
        fixed = timespans.detach()
        assert torch.autograd.gradcheck(
            lambda x, hx, *values: function(x, hx, fixed, *values), (x, hx, *values)
        )
        later = (timespans.detach() + 0.5).requires_grad_()
        assert torch.autograd.gradcheck(lambda t: function(x, hx, t, *values), (later,))

    def test_double_backward(self):
        model = self.make(dtype=torch.float64)
        x = self.inputs(1, 2, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradgradcheck(lambda x: model(x)[0], (x,))

    # --- citizenship of PyTorch ----------------------------------------------------------

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_dtypes(self, dtype):
        model = self.make(dtype=dtype)
        output, state = model(self.inputs(dtype=dtype))
        assert output.dtype == state.dtype == dtype
        output.float().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())

    def test_bfloat16_is_near_float32(self):
        model = self.make()
        x = self.inputs()
        output, _ = model(x)
        low, _ = model.to(torch.bfloat16)(x.bfloat16())
        torch.testing.assert_close(low.float(), output, rtol=0.1, atol=0.1)

    def test_functional_call_uses_the_given_parameters(self):
        model = self.make()
        x = self.inputs()
        zeros = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        output, _ = torch.func.functional_call(model, zeros, (x,))
        assert not output.any()
        assert model(x)[0].any()

    def test_parametrize_has_effect(self):
        class Zero(torch.nn.Module):
            def forward(self, value):
                return 0 * value

        model = self.make()
        x = self.inputs()
        before = model(x)[0]
        mapping = model.cell.output_mapping
        parametrize.register_parametrization(mapping, "weight", Zero())
        after = model(x)[0]
        assert before.any()
        assert torch.equal(after, mapping.bias.expand_as(after))

    def test_torch_prune_has_effect_and_the_rest_trains(self):
        model = self.make()
        x = self.inputs()
        prune.random_unstructured(model.cell.output_mapping, "weight", amount=2)
        assert torch.equal(model(x)[0], model.cell.output_mapping.bias.expand(4, 6, 2))
        prune.remove(model.cell.output_mapping, "weight")
        for synapses in model.cell.synapse_sets().values():
            weight = synapses.weight
            pruned = torch.arange(len(synapses)) % 2 == 0
            prune.custom_from_mask(synapses, "weight", (~pruned).expand(weight.shape))
            assert torch.equal(~synapses.is_open, pruned)
            before = synapses.strength()
            assert not before[pruned].any()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(2):
                optimizer.zero_grad()
                model(x)[1].sum().backward()
                optimizer.step()
            model(x)  # the mask is applied before a step
            after = synapses.strength()
            assert not after[pruned].any()
            assert (after[~pruned] != before[~pruned]).any()
        if isinstance(model.cell, WiredCell):
            recurrent = model.cell.synapse_sets().get("recurrent")
            open_count = 0 if recurrent is None else recurrent.open_count
            assert model.wiring.synapse_count == model.synapse_count == open_count

    # --- pruning and rewiring ------------------------------------------------------------

    def test_the_wiring_follows_pruning(self):
        model = self.make()
        if not isinstance(model.cell, WiredCell):
            pytest.skip("not on a wiring")
        before = model.wiring
        pruner = Pruner(model)
        pruner.prune(0.5)
        sets = model.cell.synapse_sets()
        for name, count in (
            ("recurrent", model.synapse_count),
            ("sensory", model.sensory_synapse_count),
        ):
            left = getattr(model.wiring, name)
            if name not in sets:  # no neuron reads another
                assert count == len(left) == 0
                continue
            assert count == len(left) == int(sets[name].mask.sum())
            assert abs(count - 0.5 * len(sets[name])) <= 0.5
            assert set(left) <= set(getattr(before, name))
        assert sum(edit.outcome == "pruned" for edit in pruner.ledger) == pruner.cut
        twin = self.make()
        twin.load_state_dict(model.state_dict())
        assert twin.wiring == model.wiring
        assert torch.equal(twin(self.inputs())[0], model(self.inputs())[0])

    def test_a_pruned_circuit_is_saved_and_loaded(self, tmp_path):
        model = self.make()
        if not isinstance(model.cell, WiredCell) or type(model) not in layer_classes().values():
            pytest.skip("not on a wiring, or not registered")
        optimizer = torch.optim.Adam(model.parameters())
        for sparsity in (0.0, 0.5, 0.9):
            Pruner(model, allow_empty=True).prune(sparsity)
            if sparsity:
                options = {"every": 1, "keep_sources": False, "seed": 3}
                PruneRewire(model, optimizer, Relative(1.0), **options).step()
            elegans.save(model, tmp_path / f"at {sparsity}")
            again = elegans.load(tmp_path / f"at {sparsity}")
            assert again.wiring == model.wiring
            assert again.synapse_count == len(again.cell.synapse_sets().get("recurrent", ()))
            ours, theirs = model(self.inputs()), again(self.inputs())
            assert torch.allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-7)

    def test_a_pruned_synapse_carries_nothing(self):
        model = self.make()
        for name, synapses in model.cell.synapse_sets().items():
            mask = torch.arange(len(synapses)) % 2 == 0
            synapses.set_mask(mask)
            pruned = model(self.inputs())[1].detach()
            with torch.no_grad():
                for value in synapses.VALUES:
                    getattr(synapses, value)[..., ~mask] += 3.0
            assert torch.equal(model(self.inputs())[1], pruned), name
            model.zero_grad()
            model(self.inputs())[1].square().sum().backward()
            for value in synapses.VALUES:
                assert not getattr(synapses, value).grad[..., ~mask].any(), (name, value)

    @pytest.mark.parametrize("growth", ["random", "gradient"])
    def test_prune_and_rewire_by_either_face_of_the_engine(self, growth):
        models = [self.make(generator=torch.Generator().manual_seed(0)) for _ in range(2)]
        if not isinstance(models[0].cell, WiredCell):
            pytest.skip("not on a wiring")
        ledgers = []
        for model, face in zip(models, (PruneRewire, Pruner), strict=True):
            for synapses in model.cell.synapse_sets().values():  # so that there is room
                synapses.set_mask(torch.arange(len(synapses)) % 3 > 0)
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            options = {"growth": growth, "every": 2, "seed": 3}
            if face is PruneRewire:
                rewirer = face(model, optimizer, Relative(1.0), **options)
            else:
                rewirer = face(model, optimizer, drop_fraction=Relative(1.0), **options)
            judged = []
            rewirer.add_guard(lambda proposal, judged=judged: judged.append(proposal))
            for _ in range(4):
                optimizer.zero_grad()
                model(self.inputs())[0].square().mean().backward()
                optimizer.step()
                count = model.wiring.synapse_count, model.wiring.sensory_synapse_count
                rewirer.step(lambda model=model: model(self.inputs())[0].square().mean())
                assert count == (model.wiring.synapse_count, model.wiring.sensory_synapse_count)
            assert len(judged) == rewirer.counts["rewired"]
            ledgers.append(rewirer.ledger)
        assert ledgers[0] == ledgers[1]
        assert models[0].wiring == models[1].wiring
        state = models[0].state_dict()
        assert all(torch.equal(value, state[k]) for k, value in models[1].state_dict().items())

    def test_replicas_run(self):
        model = self.make()
        replica = model._replicate_for_data_parallel()
        for name, module in model.named_children():
            setattr(replica, name, module)
        x = self.inputs()
        assert torch.equal(replica(x)[0], model(x)[0])

    def test_an_ensemble_computes_what_its_members_do(self):
        members = [self.make() for _ in range(3)]
        x = self.inputs()
        output, state = Ensemble(members)(x)
        for k, member in enumerate(members):
            expected, final = member(x)
            torch.testing.assert_close(output[k], expected)
            torch.testing.assert_close(state[k], final)

    def test_autocast_hands_over(self):
        model, before = self.make(), torch.nn.Linear(INPUTS, INPUTS)
        with torch.autocast("cpu", torch.bfloat16):
            output, state = model(before(self.inputs()))
            model(before(self.inputs()), state.bfloat16())
        assert output.dtype == torch.float32

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("path", ["auto", "reference"])
    def test_on_the_gpu_as_on_the_cpu(self, path):
        model = self.make(dtype=torch.float64)
        moved = copy.deepcopy(model).cuda()
        x, timespans = self.inputs(dtype=torch.float64), torch.rand(4, 6, dtype=torch.float64)
        timespans[1, 2] = 0

        def run(layer, device):
            given = x.to(device, copy=True).requires_grad_()
            hx = torch.linspace(-1, 1, 4 * layer.state_size, dtype=torch.float64)
            hx = hx.reshape(4, -1).to(device).requires_grad_()
            with elegans.backend(path):
                output, state = layer(given, hx, timespans.to(device))
                loss = output.square().sum() + state.sin().sum()
                gradients = torch.autograd.grad(
                    loss, [given, hx, *layer.parameters()], allow_unused=True
                )
            assert output.device.type == state.device.type == device
            return output, state, *gradients

        for found, expected in zip(run(moved, "cuda"), run(model, "cpu"), strict=True):
            assert (found is None) == (expected is None)
            if found is not None:
                torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-11)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_there_and_back_again(self, tmp_path):
        model = self.make()
        expected, _ = model(self.inputs())
        moved = model.cuda()
        on_gpu, _ = moved(self.inputs().cuda())
        torch.testing.assert_close(on_gpu.cpu(), expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(model.cpu()(self.inputs())[0], expected)
        hollow = self.make(device="cuda")
        hollow.load_state_dict(model.state_dict())
        torch.testing.assert_close(
            hollow(self.inputs().cuda())[0].cpu(), expected, rtol=1e-4, atol=1e-5
        )

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_autocast_on_the_gpu_hands_over(self):
        model, before = self.make().cuda(), torch.nn.Linear(INPUTS, INPUTS).cuda()
        with torch.autocast("cuda", torch.bfloat16):
            output, state = model(before(self.inputs().cuda()))
            model(before(self.inputs().cuda()), state.bfloat16())
        assert output.dtype == torch.float32

    def test_default_device(self):
        with torch.device("meta"):
            hollow = self.make()
        assert all(value.is_meta for value in hollow.state_dict().values())
        filled = hollow.to_empty(device="cpu")
        filled.cell.reset_parameters()
        assert filled.wiring == self.make().wiring
        assert torch.isfinite(filled(self.inputs())[0]).all()

    def test_a_damaged_state_changes_nothing(self):
        for name in self.make().cell.synapse_sets():
            self._damage(name)

    def _damage(self, name):
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

    def test_copies_are_independent(self):
        model = self.make()
        x = self.inputs()
        expected = model(x)[0]
        twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        twins.append(torch.load(buffer, weights_only=False))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        for twin in twins:
            assert torch.equal(twin(x)[0], expected)
            assert twin.wiring == model.wiring

    def test_state_dict_round_trip(self):
        first, second = self.make(), self.make()
        x = self.inputs()
        assert not torch.equal(first(x)[0], second(x)[0])
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(x)[0], second(x)[0])

    def test_meta_device_and_assign(self):
        model = self.make()
        hollow = self.make(device="meta")
        assert all(value.is_meta for value in hollow.state_dict().values())
        hollow.load_state_dict(model.state_dict(), assign=True)
        x = self.inputs()
        assert torch.equal(hollow(x)[0], model(x)[0])

    def test_same_generator_same_parameters(self):
        x = self.inputs()
        first, second, third = (
            self.make(generator=torch.Generator().manual_seed(seed))(x)[0] for seed in (1, 1, 2)
        )
        assert torch.equal(first, second)
        assert not torch.equal(first, third)

    @pytest.mark.slow
    def test_export(self):
        model = self.make()
        x = self.inputs()
        program = torch.export.export(model, (x,))
        torch.testing.assert_close(program.module()(x)[0], model(x)[0])

    def test_per_sample_gradients_by_vmap(self):
        model = self.make(dtype=torch.float64)
        parameters = dict(model.named_parameters())
        x = self.inputs(dtype=torch.float64)

        def loss(parameters, x):
            return torch.func.functional_call(model, parameters, (x,))[0].square().sum()

        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
        torch.func.functional_call(model, parameters, (x,))[0].square().sum().backward()
        for name, parameter in parameters.items():
            torch.testing.assert_close(each[name].sum(0), parameter.grad)

    @pytest.mark.slow
    def test_training_lowers_the_loss(self):
        torch.manual_seed(0)
        model = self.make()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        x = self.inputs(8, 10)
        wanted = x[..., :OUTPUTS].cumsum(1).tanh()
        losses = []
        for _ in range(60):
            optimizer.zero_grad()
            loss = (model(x)[0] - wanted).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.6 * losses[0]

    # --- bad input -----------------------------------------------------------------------

    def test_wrong_input(self):
        model = self.make()
        with pytest.raises(InputError, match=r"input has shape \(4, 6, 2\), expected .* 3 inputs"):
            model(torch.zeros(4, 6, 2))
        with pytest.raises(InputError, match=r"input has shape \(3,\)"):
            model(torch.zeros(3))
        with pytest.raises(InputError, match=r"input must be a tensor, got list"):
            model([[0.0, 0.0, 0.0]])
        packed = torch.nn.utils.rnn.pack_sequence([torch.zeros(4, 3)])
        with pytest.raises(InputError, match="is a PackedSequence, which layers take and a single"):
            model.cell(packed, torch.zeros(1, model.state_size))
        with pytest.raises(InputError, match=r"input is torch.complex64, the layer computes in"):
            model(self.inputs().to(torch.complex64))

    @pytest.mark.parametrize("batch_first", [True, False])
    @pytest.mark.parametrize("lengths", [[4], [6, 6, 6], [1, 6, 3, 6], [6, 3, 1, 1]], ids=str)
    def test_packed_sequences(self, lengths, batch_first):
        model = self.make(batch_first=batch_first)
        count, longest = len(lengths), max(lengths)
        x, hx = self.inputs(count, longest), torch.rand(count, model.state_size)
        spans = torch.rand(count, longest)
        padded, clock = (x, spans) if batch_first else (x.transpose(0, 1), spans.t())
        output, final, states = model(
            padded, hx, clock, lengths=torch.tensor(lengths), return_states=True
        )
        is_sorted = lengths == sorted(lengths, reverse=True)
        packed, times = (
            pack_padded_sequence(values, torch.tensor(lengths), batch_first, is_sorted)
            for values in (padded, clock)
        )
        for timespans in (clock, times):
            own, last, inner = model(packed, hx, timespans, return_states=True)
            assert torch.equal(last, final)
            for got, expected in ((own, output), (inner, states)):
                back, counts = pad_packed_sequence(got, batch_first)
                assert counts.tolist() == lengths
                whole = expected if batch_first else expected.transpose(0, 1)
                back = back if batch_first else back.transpose(0, 1)
                for k, length in enumerate(lengths):
                    assert torch.equal(back[k, :length], whole[k, :length])
                assert torch.equal(got.batch_sizes, packed.batch_sizes)
        read = Readout(model, 2)
        expected = read(padded, hx, clock, lengths=torch.tensor(lengths))[0]
        back = pad_packed_sequence(read(packed, hx, times)[0], batch_first)[0]
        first = (slice(None), 0) if batch_first else (0,)
        assert torch.equal(back[first], expected[first])

    def test_packed_sequences_and_the_last_output(self):
        model, lengths = self.make(return_sequences=False), torch.tensor([2, 5, 1])
        x = self.inputs(3, 5)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        assert torch.equal(model(packed)[0], model(x, lengths=lengths)[0])
        with pytest.raises(InputError, match="lengths besides a PackedSequence"):
            model(packed, lengths=lengths)
        others = pack_padded_sequence(
            torch.ones(3, 5), torch.tensor([2, 4, 1]), batch_first=True, enforce_sorted=False
        )
        with pytest.raises(InputError, match=r"of \[2, 4, 1\] steps, the inputs of \[2, 5, 1\]"):
            model(packed, timespans=others)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.uint8,
                                       torch.bool], ids=str)  # fmt: skip
    def test_numbers_of_other_types_are_converted(self, dtype):
        model = self.make()
        x, hx = self.inputs() > 0, torch.arange(model.state_size).repeat(4, 1) % 2
        output, state = model(x.to(dtype), hx.to(dtype), timespans=x[..., 0].to(dtype))
        assert output.dtype == state.dtype == torch.float32
        expected = model(x.float(), hx.float(), timespans=x[..., 0].float())
        assert torch.equal(output, expected[0])
        assert torch.equal(state, expected[1])
        step, expected = (
            model.cell(x[:, 0].to(kind), hx.to(kind)) for kind in (dtype, torch.float32)
        )
        assert torch.equal(step[0], expected[0])

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_input_that_is_not_finite_is_named(self, bad):
        x = self.inputs()
        x[2, 4, 1] = bad
        with pytest.raises(InputError, match=rf"input holds {bad} at batch 2, time 4, feature 1"):
            self.make()(x)

    def test_wrong_timespans(self):
        model, x = self.make(), self.inputs()
        for wrong in (torch.ones(4), torch.ones(4, 5), torch.ones(4, 6, 2)):
            with pytest.raises(
                InputError, match=r"must hold one elapsed time a step, shape \(4, 6"
            ):
                model(x, timespans=wrong)
        for wrong, got in ((1.0, "float"), (torch.ones(4, 6).to(torch.complex64), "complex64")):
            with pytest.raises(InputError, match=f"must be a tensor of real numbers, got .*{got}"):
                model(x, timespans=wrong)
        timespans = torch.ones(4, 6)
        timespans[3, 2] = -0.5
        with pytest.raises(InputError, match=r"timespans holds -0.5 at batch 3, time 2"):
            model(x, timespans=timespans)
        timespans[3, 2] = float("nan")
        with pytest.raises(InputError, match=r"timespans holds nan at batch 3, time 2"):
            model(x, timespans=timespans)

    def test_wrong_lengths(self):
        model, x = self.make(), self.inputs()
        with pytest.raises(InputError, match=r"lengths must be from 0 to 6, got \[1, 2, 3, 7\]"):
            model(x, lengths=torch.tensor([1, 2, 3, 7]))
        for wrong in (
            torch.tensor([1, 2, 3]),
            torch.tensor([1.0, 2.0, 3.0, 4.0]),
            torch.tensor([True, False, True, True]),
            "abc",
        ):
            with pytest.raises(InputError, match="lengths must hold one integer a sequence"):
                model(x, lengths=wrong)

    @pytest.mark.parametrize("batch", [1, 4])
    @pytest.mark.parametrize("batch_first", [True, False])
    def test_one_clock_and_one_state_serve_all_samples(self, batch, batch_first):
        model, x = self.make(batch_first=batch_first), self.inputs()[:batch]
        clock, hx = torch.rand(1, 6), torch.rand(1, model.state_size)
        each = clock.expand(batch, 6)
        if not batch_first:
            x, clock, each = x.transpose(0, 1), clock.t(), each.t()
        output = model(x, hx.expand(batch, -1), each)[0]
        neurons = each.unsqueeze(-1).expand(*each.shape, model.state_size)
        for timespans in (clock, clock.unsqueeze(-1), each.unsqueeze(-1), neurons):
            assert torch.equal(model(x, hx, timespans)[0], output)
        with pytest.raises(InputError, match="other elapsed times for other neurons"):
            model(x, hx, neurons * torch.arange(model.state_size))
        first = x[0] if not batch_first else x[:, 0]
        assert torch.equal(model.cell(first, hx)[1], model.cell(first, hx.expand(batch, -1))[1])

    def test_wrong_state(self):
        model, x = self.make(), self.inputs()
        units = model.state_size
        with pytest.raises(InputError, match=rf"hx has shape \(3, {units}\), expected \(4, "):
            model(x, torch.zeros(3, units))
        with pytest.raises(InputError, match=rf"hx has shape \(1, {units}\), expected \({units},"):
            model(x[0], torch.zeros(1, units))
        with pytest.raises(InputError, match=r"there is no axis of layers here: pass hx\[0\]"):
            model(x, torch.zeros(1, 4, units))
        with pytest.raises(InputError, match=r"hx is torch.complex64, the layer computes in"):
            model(x, torch.zeros(4, units, dtype=torch.complex64))
        with pytest.raises(InputError, match=r"hx must be a tensor, got ndarray"):
            model(x, np.zeros((4, units)))
        with pytest.raises(InputError, match="one tensor without, got 2 tensors"):
            model(x, (torch.zeros(4, units), torch.zeros(4, units)))

    def test_a_state_that_is_not_finite_is_located(self):
        model = self.make()
        hx = torch.zeros(4, model.state_size)
        hx[1, 1] = float("nan")
        name = model.wiring.names[1]
        with pytest.raises(
            SolveError, match=rf"step 0 of 6.*sample 1, neuron .{name}.*initial state"
        ):
            model(self.inputs(), hx)
