"""Liquid neural circuits that rewire themselves while they learn.

`LTC` is the layer, `elegans.wiring` holds the circuits, `elegans.solvers` the integrators.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elegans.cfc import CfC as CfC
    from elegans.cfc import CfCCell as CfCCell
    from elegans.cfc import WiredCfCCell as WiredCfCCell
    from elegans.cfc.ncps_checkpoint import cfc_from_ncps as cfc_from_ncps
    from elegans.cfc.ncps_checkpoint import load_ncps_cfc_state_dict as load_ncps_cfc_state_dict
    from elegans.cfc.ncps_checkpoint import ncps_cfc_state_dict as ncps_cfc_state_dict
    from elegans.ctrnn import CTRNN as CTRNN
    from elegans.ctrnn import CTRNNCell as CTRNNCell
    from elegans.execution import use as use
    from elegans.ltc import LTC as LTC
    from elegans.ltc_cell import LTCCell as LTCCell
    from elegans.ncps_checkpoint import load_ncps_state_dict as load_ncps_state_dict
    from elegans.ncps_checkpoint import ltc_from_ncps as ltc_from_ncps
    from elegans.ncps_checkpoint import ncps_state_dict as ncps_state_dict
    from elegans.policy import Policy as Policy
    from elegans.pruning import Pruner as Pruner
    from elegans.pruning import PruneRewire as PruneRewire
    from elegans.reporting.stability.report import report as report
    from elegans.saving import load as load
    from elegans.saving import save as save

__version__ = version("elegans")

# Names are loaded when they are first used, so that a wiring can be drawn without PyTorch.
_HOME = {
    "CTRNN": "elegans.ctrnn",
    "CTRNNCell": "elegans.ctrnn",
    "CfC": "elegans.cfc",
    "CfCCell": "elegans.cfc",
    "LTC": "elegans.ltc",
    "LTCCell": "elegans.ltc_cell",
    "Policy": "elegans.policy",
    "PruneRewire": "elegans.pruning",
    "Pruner": "elegans.pruning",
    "WiredCfCCell": "elegans.cfc",
    "cfc_from_ncps": "elegans.cfc.ncps_checkpoint",
    "load": "elegans.saving",
    "load_ncps_cfc_state_dict": "elegans.cfc.ncps_checkpoint",
    "load_ncps_state_dict": "elegans.ncps_checkpoint",
    "ltc_from_ncps": "elegans.ncps_checkpoint",
    "ncps_cfc_state_dict": "elegans.cfc.ncps_checkpoint",
    "ncps_state_dict": "elegans.ncps_checkpoint",
    "report": "elegans.reporting.stability",
    "save": "elegans.saving",
    "use": "elegans.execution",
}
_SUBPACKAGES = (
    "data",
    "ensemble",
    "proofs",
    "pruning",
    "reporting",
    "solvers",
    "tasks",
    "training",
    "wiring",
)

__all__ = [
    "CTRNN",
    "LTC",
    "CTRNNCell",
    "CfC",
    "CfCCell",
    "LTCCell",
    "Policy",
    "PruneRewire",
    "Pruner",
    "WiredCfCCell",
    "__version__",
    "cfc_from_ncps",
    "load",
    "load_ncps_cfc_state_dict",
    "load_ncps_state_dict",
    "ltc_from_ncps",
    "ncps_cfc_state_dict",
    "ncps_state_dict",
    "report",
    "save",
    "use",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _SUBPACKAGES:
        return import_module(f"elegans.{name}")
    raise AttributeError(f"module 'elegans' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES])
