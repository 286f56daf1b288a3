"""Pruning by chaos and causality: logs of weights, their Lyapunov exponents, Granger's test.

`WeightLog` records a training, `LyapunovGranger` is the criterion, `Choices` holds every choice,
and `false_positive_rate` tells what a choice finds where there is nothing to find.
"""

from elegans.replications.causality.causes import Causes, Choices, NotStationaryError, find_causes
from elegans.replications.causality.corrections import LAG_RULES, TEST_RULES, over_lags, over_tests
from elegans.replications.causality.criterion import FULL, PARTIAL, CausalityReport, LyapunovGranger
from elegans.replications.causality.diagnostics import (
    FalsePositives,
    false_positive_figure,
    false_positive_rate,
    independent_series,
)
from elegans.replications.causality.exponents import (
    ExponentSettings,
    WindowedExponents,
    windowed_exponents,
)
from elegans.replications.causality.granger import GrangerResult, granger_causality
from elegans.replications.causality.stationarity import (
    DickeyFuller,
    Stationary,
    dickey_fuller,
    make_stationary,
    unit_root_p,
)
from elegans.replications.causality.weight_log import WeightLog

__all__ = [
    "FULL",
    "LAG_RULES",
    "PARTIAL",
    "TEST_RULES",
    "CausalityReport",
    "Causes",
    "Choices",
    "DickeyFuller",
    "ExponentSettings",
    "FalsePositives",
    "GrangerResult",
    "LyapunovGranger",
    "NotStationaryError",
    "Stationary",
    "WeightLog",
    "WindowedExponents",
    "dickey_fuller",
    "false_positive_figure",
    "false_positive_rate",
    "find_causes",
    "granger_causality",
    "independent_series",
    "make_stationary",
    "over_lags",
    "over_tests",
    "unit_root_p",
    "windowed_exponents",
]
