"""Training circuits on sequences, in runs that can be interrupted, continued and inspected.

`fit` trains, a `RunFolder` keeps what happened, `load_model` returns what came out; settings are
the frozen values `TrainingConfig` and `RewireConfig`.
"""

from typing import TYPE_CHECKING

from elegans.lazy import attach

if TYPE_CHECKING:  # loaded when first used: the shell needs the settings for --help
    from elegans.training.baselines import baseline_answers as baseline_answers
    from elegans.training.callbacks import Callback as Callback
    from elegans.training.callbacks import CsvLog as CsvLog
    from elegans.training.callbacks import OnStep as OnStep
    from elegans.training.callbacks import TensorBoard as TensorBoard
    from elegans.training.config import RewireConfig as RewireConfig
    from elegans.training.config import TrainingConfig as TrainingConfig
    from elegans.training.evaluation import predict as predict
    from elegans.training.run_data import RunData as RunData
    from elegans.training.run_folder import RunFolder as RunFolder
    from elegans.training.run_folder import load_model as load_model
    from elegans.training.state import Condition as Condition
    from elegans.training.trainer import Result as Result
    from elegans.training.trainer import TrainingStopped as TrainingStopped
    from elegans.training.trainer import check_training as check_training
    from elegans.training.trainer import fit as fit

__getattr__, __dir__, __all__ = attach(__name__)
