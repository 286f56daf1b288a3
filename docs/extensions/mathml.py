"""Formulas as MathML, which browsers draw themselves, with a font: no script and no network."""

import re
from pathlib import Path

import ziamath
from docutils.nodes import SkipNode
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert

FONT = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
FUNCTIONS = re.compile(r"\\(tanh|sin|cos|exp|log|ln)\s+(?=[^\W\d_]|\\)")
BAR = re.compile(r"<mo([^>]*)>(?:&#x0007C;|\|)</mo>")
ROWS = re.compile(r"(?<!\\)&|\\\\")  # in a formula that is no matrix


def mathml(formula, display):
    """Return a formula of LaTeX as MathML; rows are aligned at their ampersands."""
    if ROWS.search(re.sub(r"\\begin\{(\w+)\}.*?\\end\{\1\}", "", formula, flags=re.S)):
        formula = rf"\begin{{array}}{{rl}} {formula} \end{{array}}"
    formula = FUNCTIONS.sub(r"\\\1\\, ", formula)  # a thin space that the converter leaves out
    # Bars are written with the space of a relation, which the size of a number does not have.
    return BAR.sub(r'<mo\1 lspace="0" rspace="0">|</mo>', convert(formula, display=display))


def inline(translator, node):
    """Write a formula within a line."""
    translator.body.append(mathml(node.astext(), "inline"))
    raise SkipNode


def block(translator, node):
    """Write formulas that have lines to themselves; an empty line stands between two."""
    translator.body.append(translator.starttag(node, "div", CLASS="formula"))
    for formula in re.split(r"\n\s*\n", node.astext().strip()):
        translator.body.append(mathml(formula, "block"))
    translator.body.append("</div>\n")
    raise SkipNode


def add_font(app, error):
    """Put the font beside the pages."""
    if error is None and app.builder.format == "html":
        path = Path(app.outdir) / "_static" / "math.woff"
        if not path.exists():
            font = TTFont(FONT)
            font.flavor = "woff"
            font.save(path)


def setup(app):
    """Offer the renderer to Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("build-finished", add_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
