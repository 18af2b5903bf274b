"""How figures are written in every format of a report: two decimals, and a dash where there is none."""

from __future__ import annotations

import math
import unicodedata

from evals.scoreboard import Figure

NONE = "\N{EN DASH}"
"""What stands where there is no figure."""
MINUS = "\N{MINUS SIGN}"
LONGEST = 200
"""Characters of a text in a table; JSON lines hold it whole."""


def finite(value: float | None) -> float | None:
    """The value; None where it is none or not a number that can be shown."""
    return value if value is not None and math.isfinite(value) else None


def number(value: float | None, digits: int = 2) -> str:
    """A figure in so many decimals, never '-0.00'; a dash for None and for what is not finite."""
    known = finite(value)
    if known is None:
        return NONE
    text = f"{known:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def interval(figure: Figure) -> str:
    """``[lo, hi]``; empty where the figure has no interval."""
    if finite(figure.value) is None or finite(figure.low) is None or finite(figure.high) is None:
        return ""
    return f"[{number(figure.low)}, {number(figure.high)}]"


def with_interval(figure: Figure) -> str:
    """``0.95 [0.84, 0.99]``."""
    return f"{number(figure.value)} {interval(figure)}".rstrip()


def p_text(p: float | None) -> str:
    """Three decimals, or that it is smaller than they can show."""
    known = finite(p)
    if known is None:
        return NONE
    return "<0.001" if known < 0.001 else number(known, 3)


def one_line(text: str) -> str:
    """A text as one line: controls and runs of white space become one space."""
    plain = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    return " ".join(plain.split())


def shortened(text: str, most: int = LONGEST) -> str:
    """One line of at most so many characters; what is cut off leaves an ellipsis."""
    line = one_line(text)
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
