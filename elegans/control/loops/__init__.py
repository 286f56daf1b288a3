"""Loops of a plant and a circuit, with what is proved of both together."""
