"""What was published of the pruned hawkmoth networks, to be shown beside one's own figures."""

from __future__ import annotations

LEVELS = (
    *(0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85),
    *(0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98),
)
"""Shares of missing weights, one after the other with retraining in between."""

LIMIT = 1e-3
"""A network's optimum is its last level with a mean squared error of at most this."""

ERRORS = {0.0: 1.57e-4, 0.75: 1.00e-4, 0.93: 1.67e-4, 0.94: 1.35e-4, 0.95: 6.0e-3, 0.97: 1.95e-2}
"""Mean squared error of one network by the share of missing weights, on scaled outputs."""

MEDIAN_OPTIMUM = 0.93
"""Of 400 networks, trained on ten million trajectories; the optimum of 214 of them is 0.93, their
mean 0.914.

Zahn, Bustamante, Switzer, Daniel, Kutz, "Pruning deep neural networks generates a sparse,
bio-inspired nonlinear controller for insect flight", PLOS Computational Biology 2022.
"""
