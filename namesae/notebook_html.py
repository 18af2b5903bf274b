"""What a notebook shows of a record."""

from __future__ import annotations

import markupsafe

from agent.records import Explanation
from namesae.dictionaries import Listed
from namesae.lines import NO_NAME, cost_text, images_text, verdict_text
from namesae.tiles import Pictures, exemplar_tiles, page_environment, sealed_tiles
from namesae.trace_html import render_trace, summary_of
from namesae.traces import Trace
from tools.protocols import StoresImages


def render_framed(trace: Trace, store: StoresImages, *, height: int = 720) -> str:
    """The page in a frame of its own, for notebooks: its styles stay inside."""
    page = markupsafe.escape(render_trace(trace, store))
    return f'<iframe srcdoc="{page}" style="width:100%;height:{height}px;border:0" sandbox></iframe>'


def render_summary(explanation: Explanation, store: StoresImages) -> str:
    """Name, figures and the judge's strongest pictures, for notebooks."""
    evidence, pictures = explanation.evidence, Pictures(store)
    shown = sealed_tiles(evidence, pictures)[:12] or exemplar_tiles(evidence, pictures)[:12]
    return (
        page_environment()
        .get_template("summary.html")
        .render(
            explanation=explanation,
            name=explanation.name or NO_NAME,
            verdict=verdict_text(explanation),
            summary=summary_of(explanation),
            cost=" · ".join(filter(None, (images_text(explanation), cost_text(explanation)))),
            tiles=shown,
        )
    )


def render_dictionary(listed: Listed) -> str:
    """A dictionary's card, for notebooks."""
    return page_environment().get_template("dictionary.html").render(listed=listed, card=listed.card)
