"""Liquid neural circuits that rewire themselves while they learn.

`LTC` is the layer, `elegans.wiring` holds the circuits, `elegans.solvers` the integrators. Names
are loaded when they are first used, so that a wiring can be drawn without PyTorch.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from elegans.lazy import attach

if TYPE_CHECKING:
    from elegans import checkpoints as checkpoints
    from elegans import control as control
    from elegans import data as data
    from elegans import ensemble as ensemble
    from elegans import export as export
    from elegans import lesions as lesions
    from elegans import proofs as proofs
    from elegans import pruning as pruning
    from elegans import replications as replications
    from elegans import reporting as reporting
    from elegans import solvers as solvers
    from elegans import tasks as tasks
    from elegans import torch as torch
    from elegans import training as training
    from elegans import wiring as wiring
    from elegans import wirings as wirings
    from elegans.cfc import CfC as CfC
    from elegans.cfc import CfCCell as CfCCell
    from elegans.cfc import WiredCfCCell as WiredCfCCell
    from elegans.checkpoints.ncps import from_ncps as from_ncps
    from elegans.checkpoints.ncps import load_ncps as load_ncps
    from elegans.checkpoints.ncps import to_ncps as to_ncps
    from elegans.checkpoints.saving import load as load
    from elegans.checkpoints.saving import save as save
    from elegans.control.policy import Policy as Policy
    from elegans.ctgru import CTGRU as CTGRU
    from elegans.ctgru import CTGRUCell as CTGRUCell
    from elegans.ctrnn import CTRNN as CTRNN
    from elegans.ctrnn import CTRNNCell as CTRNNCell
    from elegans.estimators import LiquidClassifier as LiquidClassifier
    from elegans.estimators import LiquidForecaster as LiquidForecaster
    from elegans.estimators import LiquidRegressor as LiquidRegressor
    from elegans.layers.execution import backend as backend
    from elegans.layers.readout import Readout as Readout
    from elegans.layers.registry import register_layer as register_layer
    from elegans.layers.stacked import Stacked as Stacked
    from elegans.lesions.experiment import lesion as lesion
    from elegans.lrc import LRC as LRC
    from elegans.lrc import LRCCell as LRCCell
    from elegans.lrc_ssm import LrcSSM as LrcSSM
    from elegans.lrc_ssm import LrcSSMCell as LrcSSMCell
    from elegans.ltc import LTC as LTC
    from elegans.ltc import LTCCell as LTCCell
    from elegans.ltc.conductances import set_conductances as set_conductances
    from elegans.neural import NeuralLTC as NeuralLTC
    from elegans.neural import NeuralLTCCell as NeuralLTCCell
    from elegans.neural import NeuralODE as NeuralODE
    from elegans.neural import NeuralODECell as NeuralODECell
    from elegans.parallel.runs import parallel_in_time as parallel_in_time
    from elegans.pruning import Pruner as Pruner
    from elegans.pruning import PruneRewire as PruneRewire
    from elegans.reporting.stability.report import report as report

__version__ = version("elegans")

__getattr__, __dir__, __all__ = attach(__name__)
