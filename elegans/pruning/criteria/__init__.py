"""Criteria: scores of weights by magnitude, gradient or flow."""
