"""What the names of cells of C. elegans say: class, side, and whether a cell is a neuron.

The names follow White et al. 1986: three letters (or letters and a number) of the class, then D or
V for dorsal and ventral, L or R for the side.

References
----------
J. G. White, E. Southgate, J. N. Thomson, S. Brenner: The structure of the nervous system of the
nematode Caenorhabditis elegans. Phil. Trans. R. Soc. B 314 (1986).
S. J. Cook et al.: Whole-animal connectomes of both Caenorhabditis elegans sexes. Nature 571 (2019),
for the names of muscles and glia.
"""

from __future__ import annotations

import re

_CORD = re.compile(r"(AS|CA|CP|DA|DB|DD|VA|VB|VC|VD)0*\d+")
_PHARYNX = re.compile(r"(I[12]|M[23]|MC|NSM)([LR])")
_TWO_LETTERS = re.compile(r"([A-Z][A-Z0-9]{2,}|IL[12])([DV])([LR])")
_ONE_LETTER = re.compile(r"([A-Z][A-Z0-9]{2,}|IL[12])([DVLR])")
_MUSCLE = re.compile(
    r"M[DV][LR]\d+|BWM.*|[dv]BWM[LR]\d+|[puv]m\d.*|mu_.*|(intmu|analmu|sphmu|vulmu|utmu).*|"
    r"MANAL|MVULVA|(ail|aob|cdl|dgl|dsp|dsr|gec|grt|pil|pob|pol|vsp|vsr)[LR]\d*"  # of the male
)
_OTHER = re.compile(
    r"(CEPsh|GLR|AMsh|PHsh|ILsh|OLLsh|OLQsh|hyp|exc_|mc\d|hmc|bm|int$|e\d|g\d|gon|XXX|seam|proct).*"
    r"|R\dst[LR]"
)
SIDES = {"L": "left", "R": "right"}


def kind_of(name: str) -> str:
    """Return ``neuron``, ``muscle`` or ``other``.

    Examples
    --------
    >>> kind_of("AVAL"), kind_of("MDL05"), kind_of("GLRDL")
    ('neuron', 'muscle', 'other')
    """
    if _MUSCLE.fullmatch(name):
        return "muscle"
    return "other" if _OTHER.fullmatch(name) else "neuron"


def class_of(name: str) -> str:
    """Return the class of a neuron.

    Examples
    --------
    >>> [class_of(name) for name in ("AVAL", "VB01", "RMEV", "IL2DL", "I1R", "RID", "AVL")]
    ['AVA', 'VB', 'RME', 'IL2', 'I1', 'RID', 'AVL']
    """
    for pattern in (_CORD, _PHARYNX, _TWO_LETTERS, _ONE_LETTER):
        match = pattern.fullmatch(name)
        if match:
            return match[1]
    return name


def side_of(name: str) -> str:
    """Return ``left``, ``right``, or an empty text.

    Examples
    --------
    >>> side_of("AVAL"), side_of("RIVR"), side_of("AVL"), side_of("VB1")
    ('left', 'right', '', '')
    """
    for pattern in (_PHARYNX, _TWO_LETTERS, _ONE_LETTER):
        match = pattern.fullmatch(name)
        if match:
            return SIDES.get(match[match.lastindex or 0], "")
    return ""
