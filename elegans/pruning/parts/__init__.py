"""What can be pruned: matrices and sets of synapses on one contract, and optimiser state."""
