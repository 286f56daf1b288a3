"""Trained circuits in other languages.

Each function takes a layer or a `elegans.Policy`, which has the units of its data, and returns
files that are checked against the circuit. Names are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from elegans.lazy import attach

if TYPE_CHECKING:
    from elegans.export.c99 import c as c
    from elegans.export.files import ExportedFiles as ExportedFiles
    from elegans.export.javascript import js as js
    from elegans.export.numpy_file import numpy as numpy
    from elegans.export.onnx_graph import onnx as onnx
    from elegans.export.playing import page as page

__getattr__, __dir__, __all__ = attach(__name__)
