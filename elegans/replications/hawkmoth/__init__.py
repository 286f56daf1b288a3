"""A hawkmoth in its plane: simulator, data and network of a sparse controller for its flight.

`dynamics` holds the equations of motion in NumPy; `simulate` integrates a million trajectories in
half a minute on two cores; `sample` draws the data that the network of `hawkmoth_network` learns
from; `fly` closes the loop with a pilot: the `Teacher`, or a circuit of `flight_circuit`.
"""

from elegans.replications.hawkmoth.body import Moth
from elegans.replications.hawkmoth.dynamics import acceleration, derivative, energy
from elegans.replications.hawkmoth.flight import Flights, fly, lessons
from elegans.replications.hawkmoth.gusts import Gusts, Sensors
from elegans.replications.hawkmoth.network import (
    column_errors,
    hawkmoth_network,
    mean_squared_error,
)
from elegans.replications.hawkmoth.scaling import MinMax
from elegans.replications.hawkmoth.simulation import simulate
from elegans.replications.hawkmoth.teacher import Hover, Teacher
from elegans.replications.hawkmoth.trajectories import INPUTS, OUTPUTS, Ranges, Trajectories, sample
from elegans.replications.hawkmoth.trajectory_file import load_trajectories, save_trajectories

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "Flights",
    "Gusts",
    "Hover",
    "MinMax",
    "Moth",
    "Ranges",
    "Sensors",
    "Teacher",
    "Trajectories",
    "acceleration",
    "column_errors",
    "derivative",
    "energy",
    "fly",
    "hawkmoth_network",
    "lessons",
    "load_trajectories",
    "mean_squared_error",
    "sample",
    "save_trajectories",
    "simulate",
]
