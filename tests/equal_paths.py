"""The same call on the reference and on the fused path."""

import torch

import elegans

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def both_paths(model, x, *, of=("output", "states"), **options):
    """Return results and gradients on the reference and on the fused path.

    The results named by `of` are what a loss is made of.
    """
    results = []
    for path in ("reference", "fused"):
        leaves = {"x": x.detach().clone().requires_grad_()}
        for name in ("hx", "timespans"):
            if name in options:
                leaves[name] = options[name].detach().clone().requires_grad_()
        arguments = {name: leaf for name, leaf in leaves.items() if name != "x"}
        model.zero_grad()
        with elegans.backend(path):
            output, final, states = model(leaves["x"], **(options | arguments), return_states=True)
        found = {"output": output, "final": final, "states": states}
        generator = torch.Generator().manual_seed(3)
        weights = {name: torch.randn(found[name].shape, generator=generator) for name in of}
        sum((found[name] * weights[name].to(x)).sum() for name in of).backward()
        found |= {f"d/d{name}": leaf.grad for name, leaf in leaves.items()}
        found |= {f"d/d{name}": p.grad for name, p in model.named_parameters()}
        results.append(found)
    return results


def assert_equal_paths(model, x, **options):
    reference, fused = both_paths(model, x, **options)
    for name, expected in reference.items():
        if expected is None:
            assert fused[name] is None or not fused[name].any(), name
            continue
        scale = max(1.0, expected.detach().abs().max().item()) if expected.numel() else 1.0
        gap = (fused[name] - expected).abs().max().item() if expected.numel() else 0.0
        assert fused[name].shape == expected.shape, name
        assert gap <= TOLERANCE[x.dtype] * scale, name
