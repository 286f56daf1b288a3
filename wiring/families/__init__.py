"""Families of wirings: recipes that draw a wiring for a number of inputs."""
