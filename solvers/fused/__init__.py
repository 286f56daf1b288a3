"""Kernels that run liquid circuits and CfCs over whole sequences in one call, forward and backward.

On the CPU they are compiled by numba when they are first called; compiled code is kept on disk.
"""

from elegans.solvers.fused.closed_form import closed_form
from elegans.solvers.fused.cpu.running import obstacle
from elegans.solvers.fused.operator import sequence

__all__ = ["closed_form", "obstacle", "sequence"]
