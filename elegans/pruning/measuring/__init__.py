"""Gains of pruning: weights and operations, compression, speed-up, exploration."""
