"""Prunable parts of a model, matrices and sets of synapses, and their optimiser state."""
