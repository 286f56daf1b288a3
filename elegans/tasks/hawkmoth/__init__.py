"""A hawkmoth in its plane: simulator, data and network of a sparse controller for its flight.

`dynamics` holds the equations of motion in NumPy; `simulate` integrates a million trajectories in
about a minute; `sample` draws the data that the network of `hawkmoth_network` learns from.
"""

from elegans.tasks.hawkmoth.body import Moth
from elegans.tasks.hawkmoth.dynamics import acceleration, derivative, energy
from elegans.tasks.hawkmoth.network import column_errors, hawkmoth_network, mean_squared_error
from elegans.tasks.hawkmoth.scaling import MinMax
from elegans.tasks.hawkmoth.simulation import simulate
from elegans.tasks.hawkmoth.trajectories import INPUTS, OUTPUTS, Ranges, Trajectories, sample
from elegans.tasks.hawkmoth.trajectory_file import load_trajectories, save_trajectories

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "MinMax",
    "Moth",
    "Ranges",
    "Trajectories",
    "acceleration",
    "column_errors",
    "derivative",
    "energy",
    "hawkmoth_network",
    "load_trajectories",
    "mean_squared_error",
    "sample",
    "save_trajectories",
    "simulate",
]
