"""Training circuits on sequences, in runs that can be interrupted, continued and inspected.

`fit` trains, a `RunFolder` keeps what happened, `load_model` returns what came out; settings are
the frozen values `TrainingConfig` and `RewireConfig`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from elegans.training.config import RewireConfig, TrainingConfig

if TYPE_CHECKING:
    from elegans.training.condition import Condition
    from elegans.training.evaluation import predict, squared_errors
    from elegans.training.imitation import CircuitPolicy, averaged_targets
    from elegans.training.run_folder import Checkpoint, RunFolder, load_model
    from elegans.training.scales import Scales
    from elegans.training.stopping import TrainingStopped
    from elegans.training.trainer import Result, check_training, fit

# Loaded when first used: the shell needs the settings for --help, and PyTorch takes seconds.
_HOME = {
    "Checkpoint": "run_folder",
    "CircuitPolicy": "imitation",
    "Condition": "condition",
    "Result": "trainer",
    "RunFolder": "run_folder",
    "Scales": "scales",
    "TrainingStopped": "stopping",
    "averaged_targets": "imitation",
    "check_training": "trainer",
    "fit": "trainer",
    "load_model": "run_folder",
    "predict": "evaluation",
    "squared_errors": "evaluation",
}

__all__ = [
    "Checkpoint",
    "CircuitPolicy",
    "Condition",
    "Result",
    "RewireConfig",
    "RunFolder",
    "Scales",
    "TrainingConfig",
    "TrainingStopped",
    "averaged_targets",
    "check_training",
    "fit",
    "load_model",
    "predict",
    "squared_errors",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"elegans.training.{_HOME[name]}"), name)
    raise AttributeError(f"module 'elegans.training' has no attribute {name!r}")
