"""What all pictures share: size, colours, type, and how they reach a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from elegans.errors import InputError
from elegans.files import make_folder, write_bytes, writing

# Okabe and Ito's palette, told apart by every kind of colour vision and in print.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
INK, MUTED, FAINT = "#222222", "#6B6B6B", "#DDDDDD"

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}
PIXELS_PER_INCH = 160


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to `path`, whole or not at all; the suffix chooses the format.

    Raises
    ------
    InputError
        The format is not known.
    """
    picture = io.BytesIO()
    kind = path.suffix.removeprefix(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise InputError(
            f"got a picture named {path.name!r}, expected one of the suffixes "
            f"{', '.join(f'.{name}' for name in sorted(known))}; use .png"
        )
    with rc_context(STYLE):
        figure.savefig(picture, format=kind, dpi=PIXELS_PER_INCH)
    make_folder(path.parent)
    with writing(path):
        write_bytes(path, picture.getvalue())
