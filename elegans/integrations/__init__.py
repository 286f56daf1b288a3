"""Doors to other libraries: `sb3` for Stable-Baselines3, `lightning` for Lightning.

Each module imports the library that it is for, so that none is needed by the rest.
"""
