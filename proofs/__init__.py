"""Certificates, Jacobians, equilibria, Lyapunov exponents and checked claims of liquid circuits.

`certify` proves that a circuit contracts, or says why it cannot; `elegans.proofs.verify` checks
a certificate with the standard library alone.
"""

if __name__ != "elegans.proofs":
    raise ImportError(
        f"this folder is the package 'elegans.proofs', but was imported as {__name__!r}; "
        "install the project (pip install -e .) and import elegans.proofs"
    )

from typing import TYPE_CHECKING

from elegans.lazy import attach

if TYPE_CHECKING:
    from elegans.proofs import claims as claims
    from elegans.proofs import lyapunov as lyapunov
    from elegans.proofs.certificates.bound import ContractionBound as ContractionBound
    from elegans.proofs.certificates.bounded_steps import step_bound as step_bound
    from elegans.proofs.certificates.ceiling import SampledCeiling as SampledCeiling
    from elegans.proofs.certificates.ceiling import sampled_ceiling as sampled_ceiling
    from elegans.proofs.certificates.certificate import Certificate as Certificate
    from elegans.proofs.certificates.certificate import NotCertified as NotCertified
    from elegans.proofs.certificates.certification import certify as certify
    from elegans.proofs.certificates.condition import ContractionCondition as ContractionCondition
    from elegans.proofs.certificates.network import Network as Network
    from elegans.proofs.certificates.refutation import SeparateBoxes as SeparateBoxes
    from elegans.proofs.certificates.refutation import UnstableRest as UnstableRest
    from elegans.proofs.certificates.refutation import refute_contraction as refute_contraction
    from elegans.proofs.certificates.regulariser import (
        CertificateSensitivity as CertificateSensitivity,
    )
    from elegans.proofs.certificates.regulariser import ContractionPenalty as ContractionPenalty
    from elegans.proofs.certificates.regulariser import contraction_rates as contraction_rates
    from elegans.proofs.certificates.safe_rewiring import CertificateGuard as CertificateGuard
    from elegans.proofs.dynamics.equilibrium import equilibria as equilibria
    from elegans.proofs.dynamics.jacobian import jacobian as jacobian
    from elegans.proofs.dynamics.sparse_jacobian import SparseJacobian as SparseJacobian
    from elegans.proofs.dynamics.spectra import dominant as dominant
    from elegans.proofs.dynamics.spectra import rightmost as rightmost
    from elegans.proofs.dynamics.spectra import spectra_along as spectra_along
    from elegans.proofs.dynamics.spectra import spectrum as spectrum
    from elegans.proofs.dynamics.spectra import time_constants_along as time_constants_along
    from elegans.proofs.dynamics.transients import kreiss_bound as kreiss_bound
    from elegans.proofs.dynamics.transients import logarithmic_norm as logarithmic_norm
    from elegans.proofs.dynamics.transients import non_normality as non_normality
    from elegans.proofs.dynamics.transients import norm_overshoot as norm_overshoot
    from elegans.proofs.dynamics.transients import transient_growth as transient_growth
    from elegans.proofs.margins.formats import FormatMargin as FormatMargin
    from elegans.proofs.margins.formats import format_margin as format_margin
    from elegans.proofs.margins.parameters import ParameterMargin as ParameterMargin
    from elegans.proofs.margins.parameters import parameter_margin as parameter_margin
    from elegans.proofs.margins.rounding import RoundingBound as RoundingBound
    from elegans.proofs.margins.rounding import rounding_bound as rounding_bound
    from elegans.proofs.reach.tube import ReachTube as ReachTube
    from elegans.proofs.reach.tube import reach_tube as reach_tube

# Names are loaded when they are first used: the verifier must not need PyTorch. No module may have
# the name of what it holds, or importing it would hide that.
__getattr__, __dir__, __all__ = attach(__name__)
