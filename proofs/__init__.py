"""What is certain about a liquid circuit: certificates, Jacobians, exponents, refuted claims.

`certify` proves that a circuit contracts, or says why it cannot; `elegans.proofs.verify` checks
a certificate with the standard library alone.
"""

if __name__ != "elegans.proofs":
    raise ImportError(
        f"this folder is the package 'elegans.proofs', but was imported as {__name__!r}; "
        "install the project (pip install -e .) and import elegans.proofs"
    )

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elegans.proofs.ceiling import SampledCeiling as SampledCeiling
    from elegans.proofs.ceiling import sampled_ceiling as sampled_ceiling
    from elegans.proofs.certificate import Certificate as Certificate
    from elegans.proofs.certificate import Refusal as Refusal
    from elegans.proofs.certification import certify as certify
    from elegans.proofs.condition import ContractionCondition as ContractionCondition
    from elegans.proofs.equilibrium import equilibria as equilibria
    from elegans.proofs.fixed_point import fixed_points as fixed_points
    from elegans.proofs.jacobian import flow_jacobian as flow_jacobian
    from elegans.proofs.jacobian import step_jacobian as step_jacobian
    from elegans.proofs.jacobian import time_constants as time_constants
    from elegans.proofs.network import Network as Network
    from elegans.proofs.regulariser import ContractionPenalty as ContractionPenalty
    from elegans.proofs.regulariser import contraction_rates as contraction_rates
    from elegans.proofs.safe_rewiring import CertificateGuard as CertificateGuard
    from elegans.proofs.sensitivity import CertificateSensitivity as CertificateSensitivity
    from elegans.proofs.sparse_jacobian import SparseJacobian as SparseJacobian
    from elegans.proofs.sparse_jacobian import sparse_flow_jacobian as sparse_flow_jacobian
    from elegans.proofs.sparse_jacobian import sparse_step_jacobian as sparse_step_jacobian
    from elegans.proofs.sparse_jacobian import whole_step_jacobian as whole_step_jacobian
    from elegans.proofs.spectra import dominant as dominant
    from elegans.proofs.spectra import rightmost as rightmost
    from elegans.proofs.spectra import spectra_along as spectra_along
    from elegans.proofs.spectra import spectrum as spectrum
    from elegans.proofs.spectra import time_constants_along as time_constants_along
    from elegans.proofs.transients import kreiss_bound as kreiss_bound
    from elegans.proofs.transients import logarithmic_norm as logarithmic_norm
    from elegans.proofs.transients import non_normality as non_normality
    from elegans.proofs.transients import numerical_abscissa as numerical_abscissa
    from elegans.proofs.transients import transient_growth as transient_growth

# Names are loaded when they are first used: the verifier must not need PyTorch. No module may have
# the name of what it holds, or importing it would hide that.
_HOME = {
    "Certificate": "elegans.proofs.certificate",
    "CertificateGuard": "elegans.proofs.safe_rewiring",
    "CertificateSensitivity": "elegans.proofs.sensitivity",
    "ContractionCondition": "elegans.proofs.condition",
    "ContractionPenalty": "elegans.proofs.regulariser",
    "Network": "elegans.proofs.network",
    "Refusal": "elegans.proofs.certificate",
    "SampledCeiling": "elegans.proofs.ceiling",
    "SparseJacobian": "elegans.proofs.sparse_jacobian",
    "certify": "elegans.proofs.certification",
    "contraction_rates": "elegans.proofs.regulariser",
    "dominant": "elegans.proofs.spectra",
    "equilibria": "elegans.proofs.equilibrium",
    "fixed_points": "elegans.proofs.fixed_point",
    "flow_jacobian": "elegans.proofs.jacobian",
    "kreiss_bound": "elegans.proofs.transients",
    "logarithmic_norm": "elegans.proofs.transients",
    "non_normality": "elegans.proofs.transients",
    "numerical_abscissa": "elegans.proofs.transients",
    "rightmost": "elegans.proofs.spectra",
    "sampled_ceiling": "elegans.proofs.ceiling",
    "sparse_flow_jacobian": "elegans.proofs.sparse_jacobian",
    "sparse_step_jacobian": "elegans.proofs.sparse_jacobian",
    "spectra_along": "elegans.proofs.spectra",
    "spectrum": "elegans.proofs.spectra",
    "step_jacobian": "elegans.proofs.jacobian",
    "time_constants": "elegans.proofs.jacobian",
    "time_constants_along": "elegans.proofs.spectra",
    "transient_growth": "elegans.proofs.transients",
    "whole_step_jacobian": "elegans.proofs.sparse_jacobian",
}

__all__ = [
    "Certificate",
    "CertificateGuard",
    "CertificateSensitivity",
    "ContractionCondition",
    "ContractionPenalty",
    "Network",
    "Refusal",
    "SampledCeiling",
    "SparseJacobian",
    "certify",
    "contraction_rates",
    "dominant",
    "equilibria",
    "fixed_points",
    "flow_jacobian",
    "kreiss_bound",
    "logarithmic_norm",
    "non_normality",
    "numerical_abscissa",
    "rightmost",
    "sampled_ceiling",
    "sparse_flow_jacobian",
    "sparse_step_jacobian",
    "spectra_along",
    "spectrum",
    "step_jacobian",
    "time_constants",
    "time_constants_along",
    "transient_growth",
    "whole_step_jacobian",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in ("claims", "lyapunov"):
        return import_module(f"elegans.proofs.{name}")
    raise AttributeError(f"module 'elegans.proofs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
