"""Local dynamics: Jacobians, spectra, equilibria, fixed points of a step, transient growth."""
