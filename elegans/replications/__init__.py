"""The published pruning systems: chaos and causality, pruning experiments, the hawkmoth.

Each sub-package reproduces one of them, with the published figures beside its own; `sets` holds
the small data sets that they use.
"""
