"""Lyapunov exponents of torch functions and of layers, also while these are trained.

`flow_exponents` and `map_exponents` take functions, `model_exponents` layers; all return a
`LyapunovSpectrum` with error bars and a verdict. `StabilityMonitor` watches a training.
"""

from elegans.proofs.lyapunov.exponents import flow_exponents, map_exponents
from elegans.proofs.lyapunov.models import model_exponents
from elegans.proofs.lyapunov.monitor import StabilityMonitor
from elegans.proofs.lyapunov.reference_systems import REFERENCE_SYSTEMS, ReferenceSystem
from elegans.proofs.lyapunov.spectrum import LyapunovSpectrum, SumCheck, kaplan_yorke_dimension

__all__ = [
    "REFERENCE_SYSTEMS",
    "LyapunovSpectrum",
    "ReferenceSystem",
    "StabilityMonitor",
    "SumCheck",
    "flow_exponents",
    "kaplan_yorke_dimension",
    "map_exponents",
    "model_exponents",
]
