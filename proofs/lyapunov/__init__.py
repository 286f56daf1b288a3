"""Lyapunov exponents: of any torch function, of a layer as it runs, and while it is trained.

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
