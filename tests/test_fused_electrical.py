"""PyTorch's tools on circuits with gap junctions, on the fused path and on the reference path."""

import pytest
import torch
from electric_circuits import circuit

import elegans

pytest.importorskip("elegans.solvers.fused.operator")

PATHS = ("fused", "reference")


def given(model, batch=2, time=2):
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(batch, time, 3, generator=generator, dtype=torch.float64)
    state = torch.randn(batch, 6, generator=generator, dtype=torch.float64)  # no two are equal
    return x.to(model.cell.dtype), state.to(model.cell.dtype)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("solver", ["semi_implicit", "exponential"])
def test_first_and_second_derivatives(path, solver):
    """By inputs, states and conductances; what currents through junctions depend on among them."""
    model = circuit(solver=solver, ode_unfolds=2, dtype=torch.float64)
    x, state = (tensor.requires_grad_() for tensor in given(model, batch=1))
    weight = model.cell.electrical.weight
    (found,) = torch.autograd.grad(model(x, state)[0].square().sum(), weight)
    assert (found != 0).all()  # the last one, which is closed all along, slows the steps down

    def function(x, state, weight):
        values = {"cell.electrical.weight": weight}
        return torch.func.functional_call(model, values, (x, state))[0]

    with elegans.backend(path):
        assert torch.autograd.gradcheck(function, (x, state, weight))
        assert torch.autograd.gradgradcheck(function, (x, state, weight))


@pytest.mark.parametrize("path", PATHS)
def test_a_compiled_layer(path):
    model = circuit()
    x, state = given(model, batch=5)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    found = {}
    with elegans.backend(path):
        for name, layer in (("eager", model), ("compiled", compiled)):
            model.zero_grad()
            output, final = layer(x, state)
            (output.square().sum() + final.sum()).backward()
            found[name] = [output, final, *(p.grad for p in model.parameters())]
    for expected, result in zip(found["eager"], found["compiled"], strict=True):
        torch.testing.assert_close(result, expected)
    assert model.cell.electrical.weight.grad.any()


def test_an_exported_layer_is_one_operator_at_any_batch_size():
    model = circuit(pruned=[1]).eval()
    batch = torch.export.Dim("batch", min=2)
    with torch.no_grad():
        shapes = {"input": {0: batch}}
        program = torch.export.export(model, (given(model)[0],), dynamic_shapes=shapes)
        names = [str(node.target) for node in program.graph.nodes]
        assert names.count("elegans.sequence.default") == 1
        for size in (2, 5):
            x = given(model, size)[0]
            torch.testing.assert_close(program.module()(x)[0], model(x)[0])


# PyTorch's own rules for forward mode are still scripted.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_vmap_and_forward_mode():
    model = circuit(dtype=torch.float64)
    x, state = given(model, batch=3)

    def outputs(x):
        return model(x, state)[0]

    rows = torch.func.vmap(lambda row, h: model(row, h)[0])(x, state)
    torch.testing.assert_close(rows, outputs(x), rtol=1e-10, atol=1e-10)
    jacobian = torch.autograd.functional.jacobian(outputs, x)
    batched = torch.autograd.functional.jacobian(outputs, x, vectorize=True)
    torch.testing.assert_close(batched, jacobian, rtol=0, atol=1e-12)
    _, tangent = torch.func.jvp(outputs, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, jacobian.flatten(3).sum(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", PATHS)
def test_a_policy_steps_as_the_layer_runs_before_and_after_a_junction_is_pruned(path):
    model = circuit(dtype=torch.float64)
    x = given(model, batch=1, time=6)[0]
    policy, answers = elegans.Policy(model), []
    for pruned in ([], [0, 3]):
        with torch.no_grad(), elegans.backend(path):
            mask = torch.ones(5, dtype=torch.bool)
            mask[pruned] = False
            model.cell.electrical.set_mask(mask)
            policy.reset()
            steps = torch.stack([torch.as_tensor(policy(row.numpy())) for row in x[0]])
            with elegans.backend("reference"):
                expected = model(x)[0][0]
        torch.testing.assert_close(steps, expected, rtol=1e-10, atol=1e-10)
        answers.append(steps)
    assert (answers[0] - answers[1]).abs().max() > 1e-3
