"""Numbers, units, names and sentences for readers."""

from __future__ import annotations

import math
from collections.abc import Callable

from elegans.proofs import verify

_LONGEST = 18  # letters of a name beside its row
_MINUS, _NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for readers: few digits, a true minus sign, no needless exponent.

    Examples
    --------
    >>> number(-0.012345), number(123456.7), number(2.5e-7), number(None), number(float("inf"))
    ('−0.0123', '123,457', '2.5·10⁻⁷', '–', '∞')
    """
    if value is None or math.isnan(value):
        return _NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-4 <= size < 1e7:
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        text = f"{size:,.{decimals}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
    else:
        mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        short = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{short}·10{power}"
    return f"{_MINUS}{text}" if value < 0 else text


def at_least(value: float | None, digits: int = 3) -> str:
    """Return a lower bound as `number` does, never above it.

    Examples
    --------
    >>> at_least(0.9999999), at_most(0.9999999), at_least(-0.12345), at_least(None)
    ('0.999', '1', '−0.124', '–')
    """
    return number(_towards(value, digits, verify.at_least), digits)


def at_most(value: float | None, digits: int = 3) -> str:
    """Return an upper bound as `number` does, never below it.

    Examples
    --------
    >>> at_most(0.12301), at_most(123456.7), at_least(123456.7), at_most(float("inf"))
    ('0.124', '123,457', '123,456', '∞')
    """
    return number(_towards(value, digits, verify.at_most), digits)


def _towards(
    value: float | None, digits: int, rounded: Callable[[float, int], str]
) -> float | None:
    if value is None or not math.isfinite(value) or value == 0:
        return value
    whole = math.floor(math.log10(abs(value))) + 1 if abs(value) < 1e7 else 0
    return float(rounded(value, max(digits, whole)))


def plural(unit: str) -> str:
    """Return a unit of time for several of them.

    Examples
    --------
    >>> plural("time unit"), plural("control step of 0.02 s")
    ('time units', 'control steps of 0.02 s')
    """
    head, space, rest = unit.partition(" of ")
    return f"{head}s{space}{rest}" if not head.endswith("s") else unit


def per_second(
    rate: float | None, seconds: float | None, shown: Callable[[float], str] = number
) -> str:
    """Return a rate per unit of time as one per second; nothing where either is not known.

    Examples
    --------
    >>> per_second(0.5, 0.02), per_second(0.5, None)
    ('25 per second', '')
    """
    if rate is None or seconds is None:
        return ""
    return f"{shown(rate / seconds)} per second"


def in_seconds(
    time: float | None, seconds: float | None, shown: Callable[[float], str] = number
) -> str:
    """Return a time as one in seconds; nothing where either is not known.

    Examples
    --------
    >>> in_seconds(3.0, 0.02), in_seconds(None, 0.02)
    ('0.06 s', '')
    """
    if time is None or seconds is None:
        return ""
    return f"{shown(time * seconds)} s"


def short(name: str) -> str:
    """Return a name that fits beside its row."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def time_title(unit: str) -> str:
    """Return the title of an axis of time."""
    return "time" if unit == "time unit" else f"time (in {plural(unit)})"


def sentence_of(text: str) -> str:
    """Return a text as a sentence."""
    text = text.strip() or "There is nothing to say about it"
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def counted(count: int, what: str) -> str:
    """Return how many there are of something whose plural ends in s.

    Examples
    --------
    >>> counted(1, "gap junction"), counted(2000, "gap junction")
    ('1 gap junction', '2,000 gap junctions')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"
