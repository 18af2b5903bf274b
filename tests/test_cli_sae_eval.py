"""``namesae sae eval`` and ``density``: a table, a record, a page that runs nothing, errors in a sentence."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer

from namesae import cli_sae_eval
from namesae.sae_evaluating import read_evaluation
from sae.card import BackboneSpec
from sae.errors import BadDictionary
from sae.image_source import FolderImages
from sae.store.extract import Extraction, load_for_extraction
from sae.store.extract import Wanted as Stored
from tests.image_folders import write_food
from tests.measured_models import write_clip_dictionary, write_pictures, write_timm_dictionary
from tools.errors import UsageError

HOSTILE = ("red'><script>alert(1)<", "green&{{7*7}}", "blue<img src=x>")
FAST = ("--noise-steps", "2", "--quiet")


def run(*arguments: str) -> int:
    """A command line in this process."""
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    cli_sae_eval.add_to(app)
    return int(app(list(arguments), standalone_mode=False))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dictionary, its seed sister, a classifier's, and pictures with and without classes."""
    root = tmp_path_factory.mktemp("sae")
    write_clip_dictionary(root)
    write_clip_dictionary(root, name="sister", seed=1)
    write_clip_dictionary(root, name="elsewhere", hook_point="pooled", pooling="none")
    write_timm_dictionary(root, num_classes=3)
    write_pictures(root / "pictures", 26, classes=("a red one", "green", "blue"))
    write_pictures(root / "hostile", 26, classes=HOSTILE)
    (root / "loose").mkdir()
    for at, path in enumerate(sorted((root / "pictures").rglob("*.png"))):
        shutil.copy(path, root / "loose" / f"{at}.png")
    return root


@pytest.fixture(scope="module")
def report(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of everything there is, against its sister and another hook point."""
    out = tmp_path_factory.mktemp("out")
    given = ("--against", str(place / "sister"), "--against", str(place / "elsewhere"))
    judge = ("--judge", f"timm:{place / 'vit'}")
    assert (
        run(
            "eval",
            str(place / "tiny"),
            "--images",
            str(place / "hostile"),
            *given,
            *judge,
            *FAST,
            "--out",
            str(out),
        )
        == 0
    )
    return out


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


class Tags(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_asks_for_nothing_and_runs_nothing(report: Path) -> None:
    html = (report / "report.html").read_text()
    parser = Tags()
    parser.feed(html)
    tags = [tag for tag, _ in parser.found]
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(tags)
    for tag, attributes in parser.found:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not {"src", "srcset", "background"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert "http" not in re.sub(r"http-equiv", "", html) and "@import" not in html and "url(" not in html
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html
    assert "{{7*7}}" in html and "&lt;img src=x&gt;" in html
    assert "prefers-color-scheme: dark" in html and 'name="viewport"' in html
    for svg in re.findall(r"<svg class=\"plot\".*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)
    assert len(re.findall(r'<svg class="plot"', html)) == 6


def test_the_record_is_read_back_and_holds_every_control(report: Path) -> None:
    found = read_evaluation(report / "evaluation.json")
    assert [each.role for each in found.findings] == ["this", "other", "other", "untrained", "noise"]
    assert [each.other.rsplit("/", 1)[-1] for each in found.matching] == ["sister"]
    assert any("elsewhere: it is not on the same hook point" in each for each in found.left_out)
    assert [each.tokens for each in found.substitutions] == ["all", "patch"]
    assert all(each.target == "labels" and each.n_classes == 3 for each in found.substitutions)
    assert found.findings[0].meaning.independent and found.findings[0].meaning.encoder == "timm:vit"
    assert found.n_images == 26 and found.tokens == 16 and len(found.classes) == 3
    for substitution in found.substitutions:
        rows = {row.what: row for row in substitution.rows}
        assert rows["identity"].cross_entropy == rows["original"].cross_entropy
        assert set(rows) == {"original", "identity", "dictionary", "untrained", "mean", "zero"}


def test_tables_and_features_lie_beside_the_page(report: Path) -> None:
    names = {path.name for path in report.iterdir()}
    assert names == {
        *("report.html", "evaluation.json", "features.csv"),
        *("scores.csv", "explained.csv", "substitution.csv", "classes.csv", "matching.csv"),
    }
    rows = list(csv.DictReader(lines(report / "features.csv")))
    assert len(rows) == 24 and {"feature", "density", "mean", "monosemanticity"} < set(rows[0])
    scores = {row["measure"]: row for row in csv.DictReader(lines(report / "scores.csv"))}
    record = read_evaluation(report / "evaluation.json")
    fvu = next(row for name, row in scores.items() if name.startswith("FVU"))
    assert float(fvu["this"]) == pytest.approx(record.findings[0].fidelity.fvu.value or 0, abs=5e-4)
    assert len(list(csv.reader(lines(report / "explained.csv")))) == 12


def test_the_same_seed_measures_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for seed in ("3", "3", "4"):
        assert (
            run(
                "eval",
                str(place / "tiny"),
                "--images",
                str(place / "pictures"),
                "--count",
                "20",
                "--labels",
                "none",
                *FAST,
                "--seed",
                seed,
                "--json",
            )
            == 0
        )
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] != told[2]
    record = json.loads(told[0])
    assert record["schema"] == 1 and record["type"] == "evaluation" and record["n_images"] == 20


def test_a_table_is_printed_and_what_is_left_out_is_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run("eval", str(place / "tiny"), "--images", str(place / "loose"), "--noise-steps", "0", "--quiet")
        == 0
    )
    out = capsys.readouterr().out
    assert "FVU, global" in out and "untrained" in out and "monosemanticity" in out
    assert "the images have no labels" in out and "--noise-steps is 0" in out and "--judge" in out
    assert "probe of" not in out and "In the place of activations" not in out


def test_a_classifier_is_measured_with_its_own_classes(place: Path, tmp_path: Path) -> None:
    given = ("--images", str(place / "pictures"), *FAST, "--out", str(tmp_path))
    assert run("eval", str(place / "tiny-vit"), *given) == 0
    labelled = read_evaluation(tmp_path / "evaluation.json").substitutions
    assert [each.target for each in labelled] == ["labels"] and not labelled[0].templates
    assert run("eval", str(place / "tiny-vit"), *given, "--labels", "none") == 0
    unlabelled = read_evaluation(tmp_path / "evaluation.json")
    assert [each.target for each in unlabelled.substitutions] == ["own predictions"]
    assert unlabelled.findings[0].probes is None and not unlabelled.left_out[0].startswith("Linear probes")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval", "{}/tiny", "--images", "{}/nowhere"), "nowhere' do not exist; give a folder, sandbox.sets"),
        (("eval", "{}/tiny", "--images", "torchvision:cifar11"), "'cifar11' is not known"),
        (("eval", "{}/tiny", "--images", "torchvision:mnist", "--root", "{}"), "add --download"),
        (("eval", "{}/tiny"), "names no probe set"),
        (("eval", "nobody"), "does not exist"),
        (("eval", "{}/tiny", "--images", "{}/loose", "--count", "3"), "too few images"),
        (("eval", "{}/tiny", "--images", "{}/loose", "--judge", "clip"), "KIND:SOURCE"),
        (("density", "{}/tiny", "--store", "{}/loose"), "activation store"),
        (("eval", "{}/tiny", "--images", "sandbox.sets", "--labels", "mood"), "no attribute 'mood'"),
    ],
)
def test_what_is_wrong_is_one_sentence(place: Path, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises((UsageError, BadDictionary), match=re.escape(said)) as raised:
        run(*(each.format(place) for each in arguments), "--quiet")
    assert str(raised.value).count("\n") == 0


def test_stored_activations_measure_as_the_images_do(place: Path, tmp_path: Path) -> None:
    images = FolderImages(place / "pictures")
    backbone = load_for_extraction(BackboneSpec(kind="open_clip", source=str(place / "clip")))
    Extraction(images, backbone, Stored(hook_points=("block.1",), scope="patch", dtype="fp32")).run(
        tmp_path / "store"
    )
    given = ("eval", str(place / "tiny"), *FAST)
    assert run(*given, "--store", str(tmp_path / "store"), "--out", str(tmp_path / "a")) == 0
    assert run(*given, "--images", str(place / "pictures"), "--out", str(tmp_path / "b")) == 0
    stored, read = (read_evaluation(tmp_path / name / "evaluation.json") for name in "ab")
    own, other = stored.findings[0], read.findings[0]
    assert own.fidelity.fvu.value == pytest.approx(other.fidelity.fvu.value or 0, rel=1e-4)
    assert own.activity.l0 == other.activity.l0 and stored.classes == read.classes
    assert own.probes is not None and stored.images.startswith("store:")
    assert not stored.substitutions and any("needs images" in each for each in stored.left_out)
    with pytest.raises(UsageError, match="hook point"):
        run("density", str(place / "elsewhere"), "--store", str(tmp_path / "store"), "--quiet")


def test_sets_of_torchvisions_are_measured_by_name(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_food(tmp_path)
    given = ("--images", "torchvision:food101:test", "--root", str(tmp_path), "--quiet")
    assert run("density", str(place / "tiny"), *given) == 0
    assert "24 features on 48 tokens" in capsys.readouterr().out


def test_densities_are_printed_and_written(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("density", str(place / "tiny"), "--images", str(place / "loose"), "--quiet")
    assert run(*given, "--out", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "24 features on 416 tokens" in out and "\N{FULL BLOCK}" in out and "No ultra-low" in out
    rows = list(csv.DictReader(lines(tmp_path / "density.csv")))
    assert len(rows) == 24 and sum(int(row["active"]) for row in rows) == 5 * 416
    ElementTree.parse(tmp_path / "density.svg")
    assert run(*given, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["type"] == "density" and record["rows"] == 416


CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt install chromium)")
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_narrow_and_wide_screens(browser: Any, report: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True, color_scheme=scheme)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda each: None if each.url.startswith("file:") else complaints.append(each.url))
    page.goto((report / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper, ink = (
        page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")
    )
    assert (sum(map(int, re.findall(r"\d+", paper))) > sum(map(int, re.findall(r"\d+", ink)))) == (
        scheme == "light"
    )
    assert complaints == []
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sandbox", "sandbox-patch", "sandbox-vit"])
def test_the_sandbox_is_measured_as_it_stands(name: str, tmp_path: Path) -> None:
    assert run("eval", name, "--count", "60", *FAST, "--out", str(tmp_path)) == 0
    found = read_evaluation(tmp_path / "evaluation.json")
    own, twin = found.findings[0], next(each for each in found.findings if each.role == "untrained")
    assert (own.fidelity.fvu.value or 1) < 0.1 < (twin.fidelity.fvu.value or 0)
    assert found.substitutions and len(found.classes) == 20
    rows = {row.what: row for row in found.substitutions[0].rows}
    assert (rows["original"].top1.value or 0) > 0.9 > (rows["mean"].top1.value or 1)
