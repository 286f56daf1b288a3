"""What pruning gained: counts of weights and operations, compression, speed-up, exploration."""
