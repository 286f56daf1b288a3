"""Layers to and from disk, and to and from ncps."""
