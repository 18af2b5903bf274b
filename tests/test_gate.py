"""The gate itself: a warning of ours fails a test, and where nothing may be skipped a skip does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("sae", "tools", "agent", "sandbox", "evals", "namesae", "benchmarks", "tests")


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        [*command, "--rootdir", str(folder), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_warning_raised_by_our_code_fails_and_a_strangers_does_not(tmp_path: Path) -> None:
    (tmp_path / "stranger.py").write_text("import warnings\n\ndef old():\n    warnings.warn('old')\n")
    (tmp_path / "test_two.py").write_text(
        "import sys, warnings\nfrom pathlib import Path\n"
        "sys.path.append(str(Path(__file__).parent))\nimport stranger\n\n"
        "def test_ours():\n    warnings.warn('ours')\n\n"
        "def test_in_package():\n"
        "    code = compile(\"import warnings; warnings.warn('ours')\", 'feature.py', 'exec')\n"
        "    exec(code, {'__name__': 'sae.feature'})\n\n"
        "def test_theirs():\n    stranger.old()\n"
    )
    result = run_pytest(tmp_path, "-c", str(ROOT / "pyproject.toml"))
    assert "2 failed, 1 passed, 1 warning" in result.stdout
    assert "test_two.py::test_theirs" not in result.stdout.partition("short test summary")[2]


def test_a_skip_fails_the_gate_and_an_expected_failure_does_not(tmp_path: Path) -> None:
    (tmp_path / "test_three.py").write_text(
        "import pytest\n\n"
        "def test_skips():\n    pytest.skip('no browser')\n\n"
        "@pytest.mark.xfail\ndef test_fails_as_expected():\n    assert False\n\n"
        "def test_passes():\n    pass\n"
    )
    (tmp_path / "test_absent.py").write_text("import pytest\npytest.importorskip('a_package_nobody_has')\n")
    result = run_pytest(
        tmp_path, "-p", "tests.no_skips", "-c", "/dev/null", "--continue-on-collection-errors"
    )
    assert result.returncode == 1
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in result.stdout
    assert "no browser" in result.stdout and "a_package_nobody_has" in result.stdout


def test_only_warnings_of_strangers_are_ignored_one_by_one_and_with_a_reason() -> None:
    lines = [line.strip() for line in (ROOT / "pyproject.toml").read_text().splitlines()]
    ignored = [at for at, line in enumerate(lines) if line.startswith('"ignore')]
    assert ignored
    for at in ignored:
        _, message, category, module = lines[at].strip('",').split(":")
        assert message and category.endswith("Warning")
        assert module.endswith("$") and not module.startswith((*OURS, "(", "."))
        assert lines[at - 1].startswith("# ")
