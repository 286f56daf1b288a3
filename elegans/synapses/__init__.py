"""Synapses in slots: connections with a mask, and the parameters of each kind of synapse.

`slots` holds what all kinds share, `liquid`, `signed` and `maps` the values, `sums` what arrives
at a neuron, `constraints` and `initial` the ranges and the first values of parameters.
"""
