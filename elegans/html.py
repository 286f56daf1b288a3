"""Pieces of HTML for notebooks, readable on light and dark pages.

Like `elegans.errors` this file stands under every floor of the library: it imports the
standard library alone.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

_CELL = "text-align: left; padding: 0.1em 1em 0.1em 0"


def table_html(title: str, rows: Mapping[str, object]) -> str:
    """Return names and values in two columns under a title.

    Examples
    --------
    >>> table_html("A <circuit>", {"neurons": 8}).count("<tr>")
    1
    """
    lines = [
        f'<tr><th scope="row" style="{_CELL}">{escape(name)}</th>'
        f'<td style="{_CELL}">{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    ]
    caption = f'<caption style="{_CELL}; font-weight: bold">{escape(title)}</caption>'
    return f"<table>{caption}<tbody>{''.join(lines)}</tbody></table>"


def picture_html(png: bytes, description: str) -> str:
    """Return a picture in the PNG format as an image inside the page."""
    data = base64.b64encode(png).decode()
    return (
        f'<img alt="{escape(description)}" style="max-width: 100%" '
        f'src="data:image/png;base64,{data}">'
    )
