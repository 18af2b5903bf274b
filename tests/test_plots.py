"""The plots of a report: well-formed, within their frame, escaped, absent where there is nothing to show."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from evals.contenders import contenders
from evals.feature_table import by_feature
from evals.forest_plot import Estimate, Frame, bar, forest_plot, span
from evals.line_plot import Curve, Plane, Point, line_plot
from evals.paired_plot import Pair, paired_plot
from evals.plot_axes import LONGEST_LABEL, Scale, label_text, tick_text
from evals.plots import plots, styles
from evals.scoreboard import Figure
from tests.eval_report_data import HOSTILE, board, cells, figure

FRAME = Frame("f", "Accuracy", "Accuracy")
PLANE = Plane("p", "Cost", "Images", "Accuracy", log=True, marks=True)


def tree(plot: Markup | None) -> ElementTree.Element:
    assert plot is not None
    return ElementTree.fromstring(plot)


def places(plot: ElementTree.Element) -> list[tuple[float, float]]:
    """Where every mark and end of a line lies."""
    found = []
    for each in plot.iter():
        for x, y in (("cx", "cy"), ("x", "y"), ("x1", "y1"), ("x2", "y2")):
            if x in each.attrib:
                found.append((float(each.attrib[x]), float(each.attrib[y])))
    return found


def marks(plot: ElementTree.Element) -> list[ElementTree.Element]:
    return [each for each in plot.iter() if each.attrib.get("class", "").startswith(("mark", "point"))]


def test_every_plot_of_a_report_is_an_image_that_says_what_it_shows() -> None:
    drawn = plots(board(), by_feature(cells(12)), contenders(board()))
    every = [
        drawn.accuracy,
        *drawn.differences,
        *drawn.paired,
        *drawn.coverage,
        *drawn.calibration,
        drawn.costs,
    ]
    assert [len(part) for part in (drawn.differences, drawn.paired, drawn.coverage, drawn.calibration)] == [
        2,
        4,
        2,
        1,
    ]
    ids = []
    for plot in map(tree, every):
        _, _, width, height = map(float, plot.attrib["viewBox"].split())
        assert plot.attrib["role"] == "img" and plot[0].text and plot[1].text
        ids += plot.attrib["aria-labelledby"].split()
        assert [each.attrib["id"] for each in plot[:2]] == ids[-2:]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in places(plot))
    assert len(ids) == len(set(ids))


def test_nothing_to_show_is_no_plot() -> None:
    none = Figure(value=None)
    assert forest_plot([], FRAME) is None
    assert forest_plot([Estimate("a", none, "rival")], FRAME) is None
    assert line_plot([Curve("a", (Point(0.0, figure(0.5)), Point(5.0, none)), "ours")], PLANE) is None
    assert paired_plot([], name="a", ours="b", theirs="c") is None
    assert bar(none) == ""
    drawn = plots(board().model_copy(update={"rows": (), "differences": (), "coverage": ()}), {}, ())
    assert (drawn.accuracy, drawn.differences, drawn.paired, drawn.coverage) == (None, (), (), ())


def test_an_estimate_lies_where_its_figure_says() -> None:
    estimates = [Estimate("ours", figure(0.25), "ours"), Estimate("theirs", figure(0.5, half=0.1), "rival")]
    plot = tree(forest_plot(estimates, FRAME))
    axis = {
        text.text: float(text.attrib["x"])
        for text in plot.iter("text")
        if text.attrib["text-anchor"] == "middle"
    }
    middle = (axis["0"] + axis["1"]) / 2
    circle = next(plot.iter("circle"))
    assert float(circle.attrib["cx"]) == pytest.approx(middle, abs=0.1)
    whisker = next(each for each in plot.iter("line") if each.attrib["class"] == "whisker rival")
    unit = axis["1"] - axis["0"]
    assert float(whisker.attrib["x2"]) - float(whisker.attrib["x1"]) == pytest.approx(0.2 * unit, abs=0.2)
    assert [each.tag for each in marks(plot)] == ["polygon", "circle"]


def test_a_figure_without_an_interval_has_a_mark_and_no_whisker() -> None:
    plot = tree(forest_plot([Estimate("a", Figure(value=0.4), "rival")], FRAME))
    assert len(marks(plot)) == 1 and not [
        each for each in plot.iter("line") if "whisker" in each.attrib["class"]
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_labels_are_texts_whatever_they_say(name: str) -> None:
    forest = forest_plot([Estimate(name, figure(0.5), "rival", name)], FRAME)
    lines = line_plot([Curve(name, (Point(3.0, figure(0.5)),), "c1", name)], PLANE)
    pairs = paired_plot([Pair(name, 0.9, 0.8)], name="x", ours=name, theirs=name)
    for plot in (forest, lines, pairs):
        tags = {each.tag for each in tree(plot).iter()}
        assert tags <= {"svg", "title", "desc", "text", "line", "circle", "polygon", "polyline"}


def test_a_pair_above_the_diagonal_is_ours() -> None:
    pairs = [Pair("a", 0.9, 0.7), Pair("b", 0.6, 0.8), Pair("c", 0.7, 0.7), Pair("d", 0.95, 0.1)]
    plot = tree(paired_plot(pairs, name="x", ours="ours", theirs="theirs"))
    assert [each.attrib["class"] for each in marks(plot)] == ["point win", "point loss", "point", "point win"]
    assert "Above 2, below 1, n = 4" in "".join(plot.itertext())


def test_curves_keep_their_style_on_a_page_and_ours_lies_on_top() -> None:
    style = styles(contenders(board()))
    assert style["agent"] == "ours" and style["mils"] == "c1" and style["cosine"] == "rest"
    assert style["random"] == "control"
    curves = [
        Curve("agent", (Point(3.0, figure(0.5)),), "ours"),
        Curve("other", (Point(9.0, figure(0.2)),), "rest"),
    ]
    plot = tree(line_plot(curves, PLANE))
    drawn = [each.attrib["class"] for each in plot.iter("polyline")]
    assert drawn[:2] == ["curve rest", "curve ours"]


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0.4, 1), (-0.2, 1), (-1, 1), (0, 0.2), (-0.1, 0.1), (0, 1e-4), (3, 4.7), (0, 730)],
)
def test_an_even_axis_has_a_few_round_figures(low: float, high: float) -> None:
    ticks = Scale(low, high, 0, 100).ticks()
    assert 3 <= len(ticks) <= 9 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(9, 700), (1, 2.1), (0.5, 1e6), (87, 174), (10, 951)])
def test_a_logarithmic_axis_has_a_few_round_figures(low: float, high: float) -> None:
    scale = Scale(low, high, 0, 100, log=True)
    assert 1 <= len(scale.ticks()) <= 9
    assert scale(math.sqrt(low * high)) == pytest.approx(50)
    assert scale(low / 10) == 0 and scale(high * 10) == 100


def test_the_ends_of_an_axis_hold_every_interval() -> None:
    assert span([figure(0.33, half=0.12), Figure(value=None)], around=0.0) == (-0.1, 0.5)
    assert span([Figure(value=-0.42)], around=0.0) == (-0.5, 0.1)
    assert span([], around=0.0) == (-0.1, 0.1)


def test_labels_fit() -> None:
    assert len(label_text("x" * 99)) == LONGEST_LABEL and label_text("a\nb") == "a b"
    assert (tick_text(0.25), tick_text(-0.5), tick_text(10_000)) == ("0.25", "\N{MINUS SIGN}0.5", "10,000")
