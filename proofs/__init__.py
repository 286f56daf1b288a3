"""What is certain about a liquid circuit: Jacobians, and what follows from them."""

if __name__ != "elegans.proofs":
    raise ImportError(
        f"this folder is the package 'elegans.proofs', but was imported as {__name__!r}; "
        "install the project (pip install -e .) and import elegans.proofs"
    )

from elegans.proofs.jacobian import (
    flow_jacobian,
    spectra_along,
    spectrum,
    step_jacobian,
    time_constants,
)

__all__ = ["flow_jacobian", "spectra_along", "spectrum", "step_jacobian", "time_constants"]
