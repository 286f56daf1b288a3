"""Layers one on another and both ways in time."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import elegans
from elegans import CTRNN, LTC, CfC, PruneRewire, Stacked
from elegans.errors import InputError
from elegans.pruning import CosineFraction
from elegans.wiring import AutoNCP

KINDS = {
    "ltc": lambda inputs: LTC(inputs, AutoNCP(8, 2)),
    "mixed ltc": lambda inputs: LTC(inputs, AutoNCP(8, 2), mixed_memory=True),
    "cfc": lambda inputs: CfC(inputs, 5),
    "wired cfc": lambda inputs: CfC(inputs, AutoNCP(8, 2)),
    "ctrnn": lambda inputs: CTRNN(inputs, AutoNCP(8, 2)),
}


@pytest.fixture(params=KINDS, ids=str)
def make(request):
    torch.manual_seed(0)
    return KINDS[request.param]


def test_one_layer_is_that_layer(make):
    model, x = Stacked(make, 3), torch.randn(2, 5, 3)
    (layer,) = model.layers[0]
    output, (state,) = model(x)
    expected, final = layer(x)
    assert torch.equal(output, expected)
    for got, own in zip(flat(state), flat(final), strict=True):
        assert torch.equal(got, own)
    assert model.output_size == layer.output_size


def flat(state):
    return state if isinstance(state, tuple) else (state,)


def test_a_layer_reads_the_outputs_of_the_one_below(make):
    model, x, clock = Stacked(make, 3, num_layers=3), torch.randn(2, 5, 3), torch.rand(2, 5)
    expected, finals = x, []
    for (layer,) in model.layers:
        expected, final = layer(expected, timespans=clock)
        finals.append(final)
    output, states = model(x, timespans=clock)
    assert torch.equal(output, expected)
    for got, own in zip(states, finals, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(flat(got), flat(own), strict=True))
    first, state = model(x[:, :2], timespans=clock[:, :2])
    rest, _ = model(x[:, 2:], state, clock[:, 2:])
    torch.testing.assert_close(torch.cat([first, rest], 1), output)


@pytest.mark.parametrize("lengths", [None, [5, 5], [4, 1], [0, 5]], ids=str)
def test_both_ways(make, lengths):
    """Each sample by itself, turned round by hand, gives the same."""
    model, x, clock = Stacked(make, 3, bidirectional=True), torch.randn(2, 5, 3), torch.rand(2, 5)
    forth, back = model.layers[0]
    given = None if lengths is None else torch.tensor(lengths)
    output, (final_forth, final_back) = model(x, timespans=clock, lengths=given)
    assert output.shape == (2, 5, 2 * forth.output_size)
    for k, length in enumerate(lengths or [5, 5]):
        own, spans = x[k, :length], clock[k, :length]
        expected, last = forth(own, timespans=spans)
        torch.testing.assert_close(output[k, :length, : forth.output_size], expected)
        order = [*range(length)][::-1]
        spans = spans[[0, *order[:-1]]] if length else spans
        expected, last_back = back(own[order], timespans=spans)
        torch.testing.assert_close(output[k, :length, forth.output_size :], expected[order])
        for got, one in ((final_forth, last), (final_back, last_back)):
            for part, whole in zip(flat(got), flat(one), strict=True):
                torch.testing.assert_close(part[k], whole)


@pytest.mark.parametrize("both", [False, True])
def test_layouts(make, both):
    model = Stacked(make, 3, 2, bidirectional=both)
    time_first = Stacked(make, 3, 2, bidirectional=both, batch_first=False)
    time_first.load_state_dict(model.state_dict())
    x, clock, lengths = torch.randn(3, 6, 3), torch.rand(3, 6), torch.tensor([2, 6, 3])
    output, _ = model(x, timespans=clock, lengths=lengths)
    swapped, _ = time_first(x.transpose(0, 1), timespans=clock.t(), lengths=lengths)
    assert torch.equal(swapped.transpose(0, 1), output)
    single, _ = model(x[1], timespans=clock[1])
    torch.testing.assert_close(single, output[1])
    for spans in (clock[:1], clock[:1].unsqueeze(-1)):
        expected, _ = model(x, timespans=clock[:1].expand(3, 6), lengths=lengths)
        assert torch.equal(model(x, timespans=spans, lengths=lengths)[0], expected)
    packed, times = (
        pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
        for values in (x, clock)
    )
    padded, _ = pad_packed_sequence(model(packed, timespans=times)[0], batch_first=True)
    for k, length in enumerate(lengths):
        assert torch.equal(padded[k, :length], output[k, :length])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("time", [0, 1, 4])
def test_the_last_output(make, both, time):
    model = Stacked(make, 3, 2, bidirectional=both, return_sequences=False)
    x, width = torch.randn(2, time, 3), model.output_size
    last, _ = model(x)
    assert last.shape == (2, width)
    if time:
        whole = Stacked(make, 3, 2, bidirectional=both)
        whole.load_state_dict(model.state_dict())
        output, _ = whole(x)
        half = width // 2 if both else width
        assert torch.equal(last[:, :half], output[:, -1, :half])
        assert torch.equal(last[:, half:], output[:, 0, half:])


def test_dropout_lies_between_layers():
    model, x, read = Stacked(KINDS["cfc"], 3, 3, dropout=0.75), torch.randn(20, 9, 3), []
    for ways in model.ways():
        ways[0].register_forward_pre_hook(lambda layer, given: read.append(given[0]))
    model(x)
    silenced = [float((values == 0).float().mean()) for values in read]
    assert silenced == [0.0, pytest.approx(0.75, abs=0.05), pytest.approx(0.75, abs=0.05)]
    read.clear()
    model.eval()(x)
    assert not any(bool((values == 0).any()) for values in read)


def test_it_trains_and_rewires_and_is_saved(tmp_path):
    model = Stacked(KINDS["ltc"], 3, 2, bidirectional=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rewirer = PruneRewire(model, optimizer, CosineFraction(0.2, 100), every=2)
    before = [layer.wiring for ways in model.layers for layer in ways]
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(2, 5, 3), timespans=torch.rand(2, 5))[0].square().mean().backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        model.apply_weight_constraints()
        rewirer.step()
    after = [layer.wiring for ways in model.layers for layer in ways]
    assert all(one != other for one, other in zip(before, after, strict=True))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    again, x = Stacked(KINDS["ltc"], 3, 2, bidirectional=True), torch.randn(2, 5, 3)
    again.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(again(x)[0], model(x)[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input_size": 0}, "input_size must be an integer of at least 1"),
        ({"num_layers": 0}, "num_layers must be an integer of at least 1"),
        ({"dropout": 1.0}, "dropout must be a number from 0 to less than 1, got 1.0"),
        ({"dropout": "no"}, "dropout must be a number"),
        ({"make": lambda inputs: torch.nn.LSTM(inputs, 2)}, r"make\(3\) returned a LSTM, expected"),
        ({"make": lambda inputs: LTC(4, 4)}, r"make\(3\) returned a LTC of 4 inputs"),
        ({"make": lambda inputs: LTC(inputs, 4, batch_first=False)}, "batch_first=False to Stack"),
        ({"make": 3}, "make=3, expected Callable"),
    ],
)
def test_wrong_arguments(options, said):
    with pytest.raises(InputError, match=said):
        Stacked(**({"make": KINDS["ltc"], "input_size": 3} | options))


def test_wrong_states():
    model = Stacked(KINDS["ltc"], 3, 2, bidirectional=True)
    with pytest.raises(InputError, match="hx holds 2 states, expected 4: one for each layer and w"):
        model(torch.zeros(2, 5, 3), [None, None])
    with pytest.raises(InputError, match="lengths must be from 0 to 5"):
        model(torch.zeros(2, 5, 3), lengths=torch.tensor([6, 1]))
    assert elegans.Stacked is Stacked
