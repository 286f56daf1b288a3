"""Reach tubes: sets that hold all states of a circuit at each step, from a set of starts."""
