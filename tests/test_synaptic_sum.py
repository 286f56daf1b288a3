"""Sums over synapses are the same along the list and by the matrix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from elegans.synapses.sums import ENTRIES_PER_SYNAPSE, SynapticSum


def random_sum(seed, sources, targets, count, maps):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(sources, (count,), generator=generator, dtype=torch.int32)
    target = torch.randint(targets, (count,), generator=generator, dtype=torch.int32)
    weight = torch.randn(maps, count, generator=generator, dtype=torch.float64)
    return SynapticSum(weight, source, target, sources, targets)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 30),
    st.integers(1, 4),
)
def test_list_and_matrix_agree(seed, sources, targets, count, maps):
    total = random_sum(seed, sources, targets, count, maps)
    matrix = total._replace(weight=total.matrix())
    x = torch.randn(3, 2, sources, dtype=torch.float64)
    expected = torch.zeros(3, 2, maps, targets, dtype=torch.float64)
    for k, (j, i) in enumerate(zip(total.source.tolist(), total.target.tolist(), strict=True)):
        expected[..., i] += total.weight[:, k] * x[..., j, None]
    assert_close(total(x), expected, rtol=1e-12, atol=1e-12)
    assert_close(matrix(x), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(matrix.matrix(), total.matrix())


def test_gradients_agree():
    total = random_sum(0, 5, 4, 12, 3)
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    weight = total.weight.clone().requires_grad_()
    along = total._replace(weight=weight)
    by_matrix = along._replace(weight=along.matrix())
    expected = torch.autograd.grad(along(x).square().sum(), (x, weight))
    mine = torch.autograd.grad(by_matrix(x).square().sum(), (x, weight))
    assert_close(mine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fill", [0.5, 1.0, 1.5])
def test_the_matrix_never_outgrows_the_synapses(fill):
    count = 10
    sources = int(fill * ENTRIES_PER_SYNAPSE * count)
    drawn = random_sum(0, sources, 1, count, 2)
    total = SynapticSum.of(drawn.weight, drawn.source, drawn.target, sources, 1)
    assert (total.weight.dim() == 3) == (fill <= 1)
    assert total.weight[0].numel() <= ENTRIES_PER_SYNAPSE * count
