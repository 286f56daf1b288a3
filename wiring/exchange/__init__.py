"""Wirings to and from JSON, CSV, GraphML and NetworkX; every format is lossless."""
