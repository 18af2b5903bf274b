"""Rows of pictures with what a feature does on them, written without a template: a page has hundreds.

Nothing that anyone wrote goes in but image ids, which are percent-encoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup

from namesae.pages.figures import figure, segment
from namesae.pages.search_steps import Shown


class TileStyle(NamedTuple):
    """How a row of pictures is shown."""

    what: str
    """What a picture is, in one plain word, for those who do not see it."""
    side: int = 84
    """Pixels."""
    maps: str = ""
    """Where relevance maps are, '/d/NAME/INDEX/relevance/', percent-encoded; empty for none."""
    mapped: bool = False
    """Whether they are shown at once."""


def tiles(shown: Iterable[Shown], style: TileStyle) -> Markup:
    """The <li> of each picture."""
    return Markup("".join(_tile(each, style) for each in shown))


def _tile(shown: Shown, style: TileStyle) -> str:
    told = figure(shown.activation)
    kind = "tile fires" if shown.fires else "tile"
    if shown.image is None:
        return f'<li class="{kind}"><span class="gone"></span><span class="num">{told}</span></li>'
    image, size = segment(shown.image), f'width="{style.side}" height="{style.side}"'
    alt = f"{style.what}, activation {told}{', fires' if shown.fires else ''}"
    # A feature that is silent on a picture has no map there.
    source = "src" if style.mapped else "data-late"
    has_map = style.maps and (shown.activation or 0.0) > 0
    laid = f'<img class="map" alt="" {size} data-picture {source}="{style.maps}{image}">' if has_map else ""
    return (
        f'<li class="{kind}"><a href="/images/{image}"><img data-picture src="/images/{image}?side=96" '
        f'alt="{alt}" {size} loading="lazy" decoding="async">{laid}</a><span class="num">{told}</span></li>'
    )
