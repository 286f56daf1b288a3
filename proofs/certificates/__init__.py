"""Certificates of contraction: boxes, rates, their proof, and training that keeps them."""
