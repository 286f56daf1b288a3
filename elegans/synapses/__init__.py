"""Synapses in slots: connections with a mask, and the parameters of each kind of synapse.

`slots` holds what all kinds share, on `connections`, which are told from others; `liquid`, `signed`
and `maps` hold the values, `sums` what arrives at a neuron, `constraints` and `initial` the ranges
and the first values of parameters.
"""
