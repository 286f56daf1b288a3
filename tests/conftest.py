"""Set-up shared by all tests."""

import os
import sys

import matplotlib
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it whenever it is first imported

# What tests start inherits these: no windows, and one thread, as workers share the cores.
os.environ |= {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}

pytest.register_assert_rewrite("equal_paths", "layer_conformance", "solver_conformance")

matplotlib.use("Agg")

torch.set_num_threads(1)  # the circuits of the tests are too small to share out; kernels follow


@pytest.fixture(autouse=True)
def _same_random_numbers_every_time():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def memory_without_values():
    """Memory that PyTorch hands out holds NaN, in place of what happened to be there."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
