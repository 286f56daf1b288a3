"""The kernels for the CPU, in numba.

`lanes` has the batch as vector axis, `rows`, for a few samples, the synapses; `parameters` goes
from free parameters to their values and back; `vectors` and `sigmoid` are what they compute with.
"""
