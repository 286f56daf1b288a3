"""Control: single steps of a circuit as a policy, and linear-quadratic regulators."""
