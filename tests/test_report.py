"""The report of an evaluation: the same figures in every format, and inert whatever a name says."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evals.cell_details import inert_json
from evals.cell_result import SIGNS
from evals.contenders import contenders, in_order
from evals.feature_table import by_feature, features_table
from evals.figure_text import NONE, number, one_line, p_text, with_interval
from evals.report_files import ReportFiles, write_report
from evals.report_markdown import render_markdown
from evals.report_tables import differences, leaderboard
from evals.report_words import summary
from evals.scoreboard import Figure, Scoreboard, Totals
from evals.table import csv_text, jsonl_text, markdown_escaped
from tests.eval_report_data import CONDITIONS, HOSTILE, board, cells, picture

FEATURES = 9
EMPTY = Scoreboard(
    suite="none",
    description="",
    version="0",
    seed=0,
    proposer="lexical",
    sealed=50,
    control=1000,
    rows=(),
    totals=Totals(cells=0, expected=0, features=0, charged=0, distinct=0, drawn=0, seconds=0.0),
)


class Page(HTMLParser):
    """The tables of a page by id, row by row, and every element with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.groups: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._table: str | None = None
        self._group = ""
        self._cell: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.attributes += list(known.items())
        if tag == "table":
            self._table = known.get("id", "")
            self.tables[self._table] = []
        elif tag == "tbody":
            self._group = known.get("data-group", "")
        elif tag == "tr" and self._table is not None and "part" not in known.get("class", ""):
            self.tables[self._table].append([])
            if self._table == "leaderboard" and self._group:
                self.groups.append(self._group)
        elif tag in ("td", "th") and self._table is not None and self.tables[self._table]:
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None and self._table is not None:
            if "colspan" not in dict(self.attributes[-3:]):
                self.tables[self._table][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None
        elif tag == "table":
            self._table = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell is not None:
            self._cell.append(data)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    out = tmp_path_factory.mktemp("report") / "new"
    return write_report(board(FEATURES), cells(FEATURES), out, picture=picture)


@pytest.fixture(scope="module")
def page(files: ReportFiles) -> Page:
    return Page(files.html.read_text(encoding="utf-8"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def told(row: dict[str, str], key: str) -> str:
    """A figure of a CSV row as the page writes it."""
    ends = f" [{row[f'{key}_low']}, {row[f'{key}_high']}]" if row.get(f"{key}_low") else ""
    return ((row[key] or NONE) + ends).replace("-", "\N{MINUS SIGN}")


def test_every_file_is_written_and_nothing_else(files: ReportFiles) -> None:
    names = {
        f"{name}.{end}" for name in ("leaderboard", "features", "differences") for end in ("csv", "jsonl")
    }
    assert {path.name for path in files.html.parent.iterdir()} == {"report.html", "report.md", *names}
    assert {path.name for path in files.tables} == names


def test_the_leaderboard_of_the_page_is_the_one_of_the_csv(files: ReportFiles, page: Page) -> None:
    table = leaderboard(board(FEATURES))
    head, *lines = page.tables["leaderboard"]
    rows = rows_of(files.html.with_name("leaderboard.csv"))
    assert head == [column.label for column in table.columns]
    in_csv = {(row["group"], row["condition"]): row for row in rows}
    assert len(lines) == len(rows) == len(in_csv) == len(board(FEATURES).rows) == len(page.groups)
    for group, line in zip(page.groups, lines, strict=True):
        row = in_csv[(group, line[-2])]
        for column, shown in zip(table.columns, line, strict=True):
            expected = row[column.key] if column.kind == "text" else told(row, column.key)
            assert shown == expected, (column.key, line)


def test_the_features_of_the_page_are_those_of_the_csv(files: ReportFiles, page: Page) -> None:
    head, *lines = page.tables["features"]
    rows = rows_of(files.html.with_name("features.csv"))
    shown = [each.condition for each in contenders(board(FEATURES))]
    assert head[4:] == [each.title for each in contenders(board(FEATURES))]
    assert len(lines) == len(rows) == FEATURES
    signs = dict(SIGNS.items())
    for line, row in zip(lines, rows, strict=True):
        assert line[:4] == [row["feature"], row["group"], row["kind"], row["truth"]]
        for condition, cell_text in zip(shown, line[4:], strict=True):
            result = row[f"{condition}_result"]
            name = (row[condition] or NONE).removeprefix("'")
            name = f"({name})" if result.endswith("weak") else name
            sign = next(sign for known, sign in signs.items() if known == result.removesuffix(", weak"))
            assert cell_text == f"{sign} {name}".strip()


def test_the_differences_of_the_page_are_those_of_the_csv(files: ReportFiles, page: Page) -> None:
    lines = page.tables["differences"][1:]
    rows = rows_of(files.html.with_name("differences.csv"))
    assert len(lines) == len(rows) == 24
    for line, row in zip(lines, rows, strict=True):
        assert line[4] == told(row, "estimate")
        assert line[5:] == [row["n"], row["p"], row["p_corrected"]]


def test_json_lines_hold_figures_in_full_and_names_as_they_came() -> None:
    table = features_table(by_feature(cells(FEATURES)), contenders(board(FEATURES)))
    records = [json.loads(line) for line in jsonl_text(table).split("\n") if line]
    answers = {(str(each.feature), each.condition): each.answer.name for each in cells(FEATURES)}
    assert {name for name in answers.values() if name in HOSTILE}
    for record in records:
        for condition, *_ in CONDITIONS:
            assert record[condition] == answers.get((record["feature"], condition))
    full = [json.loads(line) for line in jsonl_text(leaderboard(board(FEATURES))).splitlines()]
    agent = next(each for each in full if each["condition"] == "agent" and each["group"] == "all")
    row = in_order(board(FEATURES), "all")[0]
    assert (agent["schema"], agent["type"], agent["specificity"]) == (1, "leaderboard", row.specificity.value)
    assert agent["mad"] is None and agent["accuracy_n"] == FEATURES


def test_what_has_no_figure_is_a_dash_and_never_nought(page: Page) -> None:
    labels, *lines = page.tables["leaderboard"]
    assert {line[labels.index("MAD")] for line in lines} == {NONE}
    assert {line[labels.index("$")] for line in lines} == {NONE, "0.0123"}
    shown = [text for table in page.tables.values() for line in table for text in line]
    assert not [text for text in shown if text.lower().split()[:1] in (["nan"], ["inf"], ["none"])]
    assert [number(None), number(float("nan")), number(float("inf")), p_text(None)] == [NONE] * 4
    assert (number(-0.001), number(-0.5), p_text(0.0004), p_text(0.05)) == (
        "0.00",
        "\N{MINUS SIGN}0.50",
        "<0.001",
        "0.050",
    )
    assert with_interval(Figure(value=0.5, low=None, high=0.7)) == "0.50"


def test_a_csv_holds_no_formula_and_one_line_a_row(files: ReportFiles) -> None:
    for path in files.tables:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            fields = [field for row in csv.reader(io.StringIO(text)) for field in row]
            assert not [field for field in fields if re.match(r"[=+@]|-\D", field)]
            assert text.count("\n") == len(list(csv.reader(io.StringIO(text))))
    assert "'=HYPERLINK" in files.html.with_name("features.csv").read_text(encoding="utf-8")


def test_names_are_shown_as_text_and_make_no_element(files: ReportFiles, page: Page) -> None:
    text = files.html.read_text(encoding="utf-8")
    assert (
        "<img" not in text
        and text.count("<script") == FEATURES + 3
        and text.count("</script>") == FEATURES + 3
    )
    assert not any(re.match(r"on[a-z]+$", name) for name, _ in page.attributes)
    assert page.tags.isdisjoint({"iframe", "object", "link", "form", "img", "base"})
    assert all(one_line(name) in " ".join(page.text.split()) for name in HOSTILE)
    assert not re.search(r"(src|href)=.?https?:|url\(|@import", text.split("<script")[0])
    assert "default-src 'none'" in text and "'unsafe-eval'" not in text


def test_embedded_json_is_the_cells_and_cannot_end_its_element(files: ReportFiles) -> None:
    text = files.html.read_text(encoding="utf-8")
    blocks = re.findall(r'<script type="application/json" id="f(\d+)">(.*?)</script>', text, re.DOTALL)
    assert [int(at) for at, _ in blocks] == list(range(FEATURES))
    answered = by_feature(cells(FEATURES))
    order = contenders(board(FEATURES))
    for (_, block), there in zip(blocks, answered.values(), strict=True):
        found = json.loads(block)
        names = {
            order[each["c"]].condition: found["x"][each["n"]] if each["n"] is not None else None
            for each in found["c"]
        }
        assert names == {condition: each.answer.name for condition, each in there.items()}
    value = "</script>\u2028&"
    assert json.loads(inert_json(value)) == value and not set("<>&\u2028") & set(inert_json(value))


def test_controls_come_last_and_ours_is_marked() -> None:
    shown = contenders(board())
    assert [each.role for each in shown] == ["ours"] + ["rival"] * 7 + ["control"] * 5
    accuracies = [each.row.accuracy.value or 0.0 for each in shown[:8]]
    assert accuracies == sorted(accuracies, reverse=True)


def test_the_summary_is_drawn_from_the_figures() -> None:
    said = summary(board(), contenders(board()))
    assert said == (
        "Agent (lexical) names 38 of 40 features right (0.95 [0.87, 1.00]) at 79 images a feature; "
        "the best rival, MILS (5 x 20), names 32 of 40 features right (0.80 [0.72, 0.88]) at 951 images "
        "a feature; the difference is 0.15 [0.03, 0.27], p = 0.063 after Holm."
    )
    blind = board().rows[0].model_copy(update={"accuracy": Figure(value=None)})
    alone = board().model_copy(update={"rows": (blind,), "differences": ()})
    assert (
        summary(alone, contenders(alone))
        == "Agent (lexical) reaches an AUROC of 0.93 [0.90, 0.96] at 79 images a feature."
    )


def test_an_evaluation_without_answers_has_a_report(tmp_path: Path) -> None:
    files = write_report(EMPTY, [], tmp_path, picture=picture)
    assert "No condition has an answer yet." in files.html.read_text(encoding="utf-8")
    assert "No condition has an answer yet." in files.markdown.read_text(encoding="utf-8")
    assert csv_text(differences(EMPTY)).count("\n") == 1


def test_the_markdown_tells_the_same_and_does_nothing(files: ReportFiles) -> None:
    text = files.markdown.read_text(encoding="utf-8")
    for said in (
        "## What is missing",
        "## Differences",
        "## Accuracy by kind",
        "| and |",
        "## Controls",
        "**agent",
    ):
        assert said in text, said
    for row in in_order(board(FEATURES), "all"):
        assert with_interval(row.accuracy) in text and with_interval(row.auroc) in text
    assert "namesae evals run sandbox-quick" in text and "0.063" in text and "<vocabulary>" not in text
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    assert max(map(len, prose)) <= 120
    widths = {
        line.replace("\\|", "").count("|")
        for line in text.split("## Differences")[1].split("##")[0].splitlines()
        if line
    }
    assert widths == {0, 9}
    assert markdown_escaped("a|b [x](y) ![z][q]\n# <b>`c`") == "a\\|b [x\\](y) ![z\\][q] \\# &lt;b&gt;\\`c\\`"


def test_a_sentence_is_never_wrapped_into_a_list() -> None:
    words = " ".join(["word"] * 22)
    text = render_markdown(EMPTY.model_copy(update={"notes": (f"{words} 12345 - # 1. {words}",)}), ())
    assert all(
        line[:2] in ("# ", "##", "- ", "  ", "``") or line[:1].isalnum() for line in text.splitlines() if line
    )
    assert [line for line in text.splitlines() if "12345 - " in line]
