"""Set-up shared by all tests."""

import matplotlib
import pytest
import torch

pytest.register_assert_rewrite("layer_conformance")

matplotlib.use("Agg")

torch.set_num_threads(1)  # the circuits of the tests are too small to share out


@pytest.fixture(autouse=True)
def _same_random_numbers_every_time():
    torch.manual_seed(0)
