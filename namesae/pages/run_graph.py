"""The graph of a run as inline SVG: what is done, how often, and where it is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from markupsafe import Markup

TIMES = " \N{MULTIPLICATION SIGN}"
NodeStanding = Literal["idle", "done", "live", "wait"]
NODES = ("observe", "propose", "draw", "score", "conclude", "race", "judge", "record")
REVIEWED = (*NODES[:-1], "review", "record")
_Shape = Literal["right", "over", "under", "down"]


class Node(NamedTuple):
    """A node and how it stands."""

    name: str
    standing: NodeStanding
    visits: int = 0
    note: str = ""
    """A few characters under the name."""


class _Box(NamedTuple):
    """Where a node is drawn, by its centre."""

    x: float
    y: float
    width: float
    height: float


class _Edge(NamedTuple):
    start: str
    end: str
    shape: _Shape


class _Layout(NamedTuple):
    name: str
    width: int
    height: int
    boxes: Mapping[str, _Box]


def graph_svg(nodes: Sequence[Node], *, narrow: bool) -> Markup:
    """The graph in one row, or in two where ``narrow``; ``nodes``: all of NODES or of REVIEWED."""
    names = tuple(node.name for node in nodes)
    layout = _two_rows(names) if narrow else _one_row(names)
    visits = {node.name: node.visits for node in nodes}
    parts = [_edge(edge, layout, walked=_is_walked(edge, visits)) for edge in _edges(names, narrow=narrow)]
    parts += [_node(node, layout.boxes[node.name]) for node in nodes]
    head = Markup(
        '<svg class="graph {0}" role="img" viewBox="0 0 {1} {2}" aria-labelledby="graph-{0}">'
        '<title id="graph-{0}">{3}</title>'
    ).format(layout.name, layout.width, layout.height, graph_words(nodes))
    return head + Markup("").join(parts) + Markup("</svg>")


def graph_words(nodes: Sequence[Node]) -> str:
    """The same in words."""
    now = [node.name for node in nodes if node.standing == "live"]
    waits = [node.name for node in nodes if node.standing == "wait"]
    done = [f"{node.name} {node.visits}{TIMES}" for node in nodes if node.visits]
    parts = [f"Now: {now[0]}."] if now else [f"Waits at {waits[0]}."] if waits else []
    parts.append(f"Done: {', '.join(done)}." if done else "Nothing is done yet.")
    return " ".join(parts)


def _one_row(names: Sequence[str]) -> _Layout:
    step, width, height = 122.0, 98.0, 46.0
    boxes = {name: _Box(step * (at + 0.5), 74.0, width, height) for at, name in enumerate(names)}
    return _Layout("wide", int(step * len(names)), 148, boxes)


def _two_rows(names: Sequence[str]) -> _Layout:
    total, gap, height = 336.0, 9.0, 44.0
    boxes: dict[str, _Box] = {}
    for row, (part, y) in enumerate(((names[:4], 62.0), (names[4:], 158.0))):
        width = (total - gap * (len(part) - 1)) / len(part)
        for at, name in enumerate(part):
            boxes[name] = _Box((width + gap) * at + width / 2 + 0.5 * (row == 2), y, width, height)
    return _Layout("tall", int(total), 188, boxes)


def _edges(names: Sequence[str], *, narrow: bool) -> list[_Edge]:
    edges = [
        _Edge("observe", "propose", "right"),
        _Edge("propose", "draw", "right"),
        _Edge("draw", "score", "right"),
        _Edge("score", "propose", "over"),
        _Edge("propose", "conclude", "down" if narrow else "under"),
        _Edge("conclude", "race", "right"),
        _Edge("race", "judge", "right"),
    ]
    tail = ("judge", "review", "record") if "review" in names else ("judge", "record")
    return edges + [_Edge(start, end, "right") for start, end in pairwise(tail)]


def _is_walked(edge: _Edge, visits: Mapping[str, int]) -> bool:
    if edge.shape == "over":
        return visits["score"] > 0 and visits["propose"] > 1
    return visits[edge.start] > 0 and visits[edge.end] > 0


def _edge(edge: _Edge, layout: _Layout, *, walked: bool) -> Markup:
    start, end = layout.boxes[edge.start], layout.boxes[edge.end]
    path, tip = _line(start, end, edge.shape)
    css = "edge walked" if walked else "edge"
    return Markup('<path class="{0}" d="{1}"/><path class="{0} tip" d="{2}"/>').format(css, path, tip)


def _line(start: _Box, end: _Box, shape: _Shape) -> tuple[str, str]:
    """The path of an edge and of its arrow head."""
    if shape == "right":
        a, b, y = start.x + start.width / 2, end.x - end.width / 2, start.y
        return (
            f"M{a:.1f} {y:.1f}H{b:.1f}",
            f"M{b - 4.5:.1f} {y - 3.5:.1f}L{b:.1f} {y:.1f}L{b - 4.5:.1f} {y + 3.5:.1f}",
        )
    up = -1.0 if shape == "over" else 1.0
    a, b = start.x, end.x
    y1 = start.y + up * start.height / 2
    y2 = end.y + (-1.0 if shape == "down" else up) * end.height / 2
    reach = y1 + up * 34
    bend = (y1 + y2) / 2
    middle = (
        f"C{a:.1f} {bend:.1f} {b:.1f} {bend:.1f}"
        if shape == "down"
        else f"C{a:.1f} {reach:.1f} {b:.1f} {reach:.1f}"
    )
    back = -4.5 if shape == "down" else up * 4.5
    tip = f"M{b - 3.5:.1f} {y2 + back:.1f}L{b:.1f} {y2:.1f}L{b + 3.5:.1f} {y2 + back:.1f}"
    return f"M{a:.1f} {y1:.1f}{middle} {b:.1f} {y2:.1f}", tip


def _node(node: Node, box: _Box) -> Markup:
    left, top = box.x - box.width / 2, box.y - box.height / 2
    note = (
        f"{node.visits}{TIMES} · {node.note}"
        if node.visits and node.note
        else f"{node.visits}{TIMES}"
        if node.visits
        else ""
    )
    note = node.note if node.standing in ("live", "wait") and not node.visits else note
    ring = (
        Markup('<rect class="ring" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="12"/>').format(
            left - 3.5, top - 3.5, box.width + 7, box.height + 7
        )
        if node.standing in ("live", "wait")
        else Markup("")
    )
    return Markup(
        '<g class="node {0}">{1}'
        '<rect class="box" x="{2:.1f}" y="{3:.1f}" width="{4:.1f}" height="{5:.1f}" rx="9"/>'
        '<text class="what" x="{6:.1f}" y="{7:.1f}" text-anchor="middle">{8}</text>'
        '<text class="often" x="{6:.1f}" y="{9:.1f}" text-anchor="middle">{10}</text></g>'
    ).format(
        node.standing,
        ring,
        left,
        top,
        box.width,
        box.height,
        box.x,
        box.y - 1.5 if note else box.y + 4,
        node.name,
        box.y + 13,
        note,
    )
