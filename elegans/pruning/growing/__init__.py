"""Where synapses grow: rules, what is legal, and the exchange of cut weights for new ones."""
