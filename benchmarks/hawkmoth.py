"""How fast hawkmoths are simulated, how exactly, and against scipy.

python benchmarks/hawkmoth.py prints the tables of benchmarks/README.md and writes hawkmoth.json.
"""

import argparse
import time
from pathlib import Path

import measure
import numpy as np
import torch
from numba import njit
from scipy.integrate import solve_ivp

from elegans.replications.hawkmoth import Moth, derivative, sample, simulate
from elegans.replications.hawkmoth.dynamics import STATE
from elegans.replications.hawkmoth.simulation import DURATION, RTOL, SCALES, numbers_of
from elegans.replications.hawkmoth.stiff_steps import accelerate
from elegans.replications.hawkmoth.trajectories import Ranges, draw

SOLVED_TOGETHER = 50


def throughput(count):
    """Draw and simulate the whole data set once."""
    sample(1000, seed=1, progress=False)  # compiles
    start, used = time.perf_counter(), time.process_time()
    sample(count, seed=0, dtype=np.float32, progress=False)
    seconds = time.perf_counter() - start
    return {
        "trajectories": count,
        "rtol": RTOL,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "us a trajectory": 1e6 * seconds / count,
        "CPU us a trajectory": 1e6 * (time.process_time() - used) / count,
    }


def reference(moth, states, controls):
    """Return the ends by DOP853 at 1e-12 with the equations in NumPy, some as one system."""
    ends = []
    for first in range(0, len(states), SOLVED_TOGETHER):
        rows = slice(first, first + SOLVED_TOGETHER)
        shape = states[rows].shape
        solved = solve_ivp(
            lambda t, s, rows=rows, shape=shape: derivative(
                moth, s.reshape(shape), controls[rows]
            ).ravel(),
            (0, DURATION), states[rows].ravel(), method="DOP853", rtol=1e-12,
            atol=np.broadcast_to(1e-12 * np.array(SCALES), shape).ravel(),
        )  # fmt: skip
        ends.append(solved.y[:, -1].reshape(shape))
    return np.concatenate(ends)


def accuracy(count):
    """Compare ends with the reference, relative to each component's deviation over the data."""
    moth, (states, controls) = Moth(), draw(Ranges(), 0, 0, count)
    exact = reference(moth, states, controls)
    spread = exact.std(0)
    rows = []
    for rtol in (1e-5, 1e-6, RTOL, 1e-8):
        error = np.abs(simulate(moth, states, controls, rtol=rtol) - exact) / spread
        worst = error.max(1)  # of a trajectory's eight components
        rows.append(
            {
                "rtol": rtol,
                "median": float(np.median(worst)),
                "99.9 %": float(np.quantile(worst, 0.999)),
                "maximum": float(worst.max()),
                "worst in": STATE[int(error.max(0).argmax())],
            }
        )
    return rows


def against_scipy(count, runs):
    """Time scipy's solvers trajectory by trajectory, with NumPy and with compiled equations."""
    moth, (states, controls) = Moth(), draw(Ranges(), 0, 0, count)
    numbers, atol = numbers_of(moth), RTOL * np.array(SCALES)

    @njit(error_model="numpy")
    def compiled(state, F, alpha, tau, out):
        force_y = F * np.sin(alpha)
        wings = (F * np.cos(alpha), force_y, force_y * numbers.L3, tau)
        accelerate(state, wings, numbers, out[4:])
        out[:4] = state[4:]

    def fast(t, state, control):
        out = np.empty(8)
        compiled(state, control[0], control[1], control[2], out)
        return out

    def slow(t, state, control):
        with np.errstate(over="ignore", invalid="ignore"):  # trial steps may overshoot by far
            return derivative(moth, state, control)

    def solve(function, method):
        ends = [
            solve_ivp(
                function, (0, DURATION), state, method=method, rtol=RTOL, atol=atol, args=(control,)
            ).y[:, -1]
            for state, control in zip(states, controls, strict=True)
        ]
        return np.array(ends)

    candidates = {"elegans, one thread": lambda: simulate(moth, states, controls, threads=1)}
    for method in ("Radau", "LSODA", "DOP853"):
        for name, function in (("NumPy", slow), ("compiled", fast)):
            candidates[f"{method}, {name}"] = lambda f=function, m=method: solve(f, m)
    exact = reference(moth, states, controls)
    spread = exact.std(0)
    errors = {
        name: float((np.abs(run() - exact) / spread).max()) for name, run in candidates.items()
    }
    seconds = measure.interleaved(candidates, runs)
    own = seconds["elegans, one thread"]
    return [
        {
            "solver": name,
            "us a trajectory": 1e6 * seconds[name] / count,
            "/ elegans": seconds[name] / own,
            "greatest error": errors[name],
        }
        for name in candidates
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--checked", type=int, default=3_000)
    parser.add_argument("--sample", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("hawkmoth.json"))
    arguments = parser.parse_args()
    speed = throughput(arguments.count)
    print(measure.table([speed]), "\n", flush=True)
    errors = accuracy(arguments.checked)
    print(measure.table(errors), "\n", flush=True)
    others = against_scipy(arguments.sample, arguments.runs)
    print(measure.table(others))
    measure.save(arguments.out, throughput=speed, accuracy=errors, scipy=others)


if __name__ == "__main__":
    main()
