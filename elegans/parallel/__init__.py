"""Long sequences without a loop over all of their steps.

`parallel_in_time` cuts a sequence into chunks that run as one batch, with a proved bound of the
error, where a certificate says how fast a circuit forgets; other circuits are solved for all steps
at once by Newton's method, with the residual as its check.
"""

from elegans.parallel.chunks import ChunksInTime
from elegans.parallel.newton import NewtonInTime
from elegans.parallel.runs import parallel_in_time
from elegans.parallel.sequences import ParallelRun

__all__ = ["ChunksInTime", "NewtonInTime", "ParallelRun", "parallel_in_time"]
