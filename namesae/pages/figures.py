"""How figures are written on a page: with their interval, never with more digits than they have."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from namesae.lines import percent
from tools.protocols import Interval

NONE = "\N{EN DASH}"
"""What stands where there is no figure."""
MINUS = "\N{MINUS SIGN}"


def figure(value: float | None, digits: int = 2) -> str:
    """A figure with a fixed number of decimals."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:.{digits}f}".replace("-", MINUS)


def interval(value: Interval | None, digits: int = 2) -> str:
    """[0.87, 0.94]; empty where there is none."""
    return "" if value is None else f"[{figure(value.low, digits)}, {figure(value.high, digits)}]"


def share(value: float | None) -> str:
    """A share of 1 as a percentage."""
    return NONE if value is None else percent(value)


def density(value: float | None) -> str:
    """A share that may be tiny, with two significant digits: 0.033 %, 16 %."""
    return NONE if value is None else f"{100 * value:.2g} %"


def shares(value: Interval | None) -> str:
    """The interval of a share, in percent: [80, 93] %."""
    return "" if value is None else f"[{100 * value.low:.0f}, {100 * value.high:.0f}]"


def count(value: int | None) -> str:
    """A number of things: 12,345."""
    return NONE if value is None else f"{value:,}"


def significant(value: float | None, digits: int = 3) -> str:
    """A figure of any size, with so many significant digits: 0.00123, 12.3, 4.56e-7."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def dollars(value: float | None) -> str:
    """Money; unknown is said, never 0."""
    if value is None:
        return "price unknown"
    if value == 0:
        return "$0"
    return f"${value:.4f}" if value < 0.1 else f"${value:,.2f}"


def seconds(value: float | None) -> str:
    """A duration: 4.2 s, 3 min 05 s, 2 h 10 min."""
    if value is None:
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def date(value: str | float | None) -> str:
    """A day and a time in UTC, from ISO 8601 or seconds since the epoch: 22 Nov 2026, 14:03."""
    at = _moment(value)
    return NONE if at is None else f"{at.day} {at:%b %Y, %H:%M}"


def day(value: str | float | None) -> str:
    """A day: 22 Nov 2026."""
    at = _moment(value)
    return NONE if at is None else f"{at.day} {at:%b %Y}"


def iso(value: str | float | None) -> str:
    """For the datetime attribute of <time>."""
    at = _moment(value)
    return "" if at is None else at.isoformat(timespec="seconds")


def segment(value: object) -> str:
    """Text as one segment of a path, or one value of a query: nothing of it is syntax."""
    return quote(str(value), safe="")


class Bar(NamedTuple):
    """A figure between 0 and 1 with its interval, in units of a 100-wide drawing."""

    at: float
    low: float
    high: float
    ceiling: float | None


def bar(
    value: float, ci: Interval | None = None, ceiling: float | None = None, *, origin: float = 0.0
) -> Bar:
    """Where the marks of an interval bar lie that goes from ``origin`` to 1; what lies below is cut."""
    low, high = (value, value) if ci is None else (ci.low, ci.high)

    def place(each: float) -> float:
        return round(100 * _clipped((each - origin) / (1 - origin)), 1)

    return Bar(place(value), place(low), place(high), None if ceiling is None else place(ceiling))


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def _moment(value: str | float | None) -> datetime | None:
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        return None if value is None else datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


FILTERS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        *(figure, interval, share, shares, density, count, significant, dollars, seconds, date, day, iso),
        *(segment, bar),
    )
}
