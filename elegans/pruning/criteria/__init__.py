"""Which weights go first: scores by magnitude, gradient or flow."""
