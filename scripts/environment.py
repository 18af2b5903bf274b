"""Makes .venv: exactly the packages of requirements.lock, and this project. Standard library only.

Run by `make setup` with any Python 3.7 or later; the half that installs runs again inside .venv.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / ".installed"
CHOSEN = VENV / "requirements.chosen"

SUPPORTED = ((3, 11), (3, 12))
TORCH_FLOOR = "2.10"
TORCH_FAMILY = re.compile(r"(torch|torchvision|triton|(nvidia|cuda)-[a-z0-9-]+)$")

# Gigabytes, measured on Linux x86_64 with an empty cache: (to download, on disk).
WITH_CUDA = (3.4, 7.0)
WITHOUT_TORCH = (0.3, 1.4)


class SetUpError(Exception):
    """One sentence for the person who ran make."""


def find_python() -> str:
    """This interpreter if it is of a supported version, else the first such one on PATH."""
    if sys.version_info[:2] in SUPPORTED:
        return sys.executable
    test = f"import sys; sys.exit(sys.version_info[:2] not in {SUPPORTED})"
    for name in ("python3.12", "python3.11"):
        found = shutil.which(name)
        # A version manager's stand-in is on PATH whether or not the version behind it is switched on.
        if found and subprocess.run([found, "-c", test], stderr=subprocess.DEVNULL).returncode == 0:
            return found
    raise SetUpError(
        f"namesae needs Python 3.11 or 3.12 and found only {platform.python_version()}; install one "
        "(apt install python3.11 python3.11-venv, or brew install python@3.12) or say make PYTHON=…"
    )


def fingerprint() -> str:
    """What .venv is made from: it is up to date exactly while this is what its stamp says."""
    content = LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()
    return hashlib.sha256(content).hexdigest()


def is_current() -> bool:
    """True when nothing has to be installed."""
    return (VENV / "bin" / "python").exists() and STAMP.exists() and STAMP.read_text() == fingerprint()


def make_venv(python: str) -> None:
    """Create .venv unless a usable one is there; one of an unsupported Python is refused, not replaced."""
    inside = VENV / "bin" / "python"
    if not inside.exists():
        if subprocess.run([python, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL).returncode:
            raise SetUpError(
                f"{python} cannot make a virtual environment; install its venv module "
                "(apt install python3-venv) and run make again."
            )
        subprocess.run([python, "-m", "venv", str(VENV)], check=True)
    test = f"import sys; sys.exit(sys.version_info[:2] not in {SUPPORTED})"
    if subprocess.run([str(inside), "-c", test]).returncode:
        raise SetUpError(f"{VENV} is of a Python other than 3.11 or 3.12; remove it and run make again.")


def locked(name: str) -> str:
    """'name==version' as the lock has it."""
    for line in LOCK.read_text().splitlines():
        if line.startswith(f"{name}=="):
            return line.partition(";")[0].strip()
    raise SetUpError(f"requirements.lock has no line for {name}; git checkout requirements.lock restores it.")


def bootstrap() -> None:
    """Bring the locked uv and packaging into .venv with whatever pip came with this Python."""
    if not importlib.util.find_spec("pip"):
        subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, locked("uv"), locked("packaging")], check=True)


def kept_pair() -> tuple[str, str] | None:
    """Versions of torch and torchvision that somebody brought into .venv, if they fit each other and us."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    try:
        torch, vision = (importlib.metadata.version(name) for name in ("torch", "torchvision"))
    except importlib.metadata.PackageNotFoundError:
        return None
    if CHOSEN.exists() and f"torch=={torch}" in CHOSEN.read_text().split():
        return None  # an earlier set-up installed it, so the lock decides
    needs = [Requirement(line) for line in importlib.metadata.requires("torchvision") or ()]
    wanted = [SpecifierSet(f">={TORCH_FLOOR}"), *(need.specifier for need in needs if need.name == "torch")]
    if all(each.contains(torch, prereleases=True) for each in wanted):
        return torch, vision
    print(f"torch {torch} and torchvision {vision} in .venv do not fit; the locked pair replaces them.")
    return None


def requirements(lock: str, *, keep_torch: bool) -> list[str]:
    """The lines of the lock to install; without torch and the packages only it needs, if it is kept."""
    lines = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    if not keep_torch:
        return lines
    return [line for line in lines if not TORCH_FAMILY.match(line.partition("==")[0])]


def announce(pair: tuple[str, str] | None) -> None:
    """Say what will be downloaded and how large it is, and refuse where the disk cannot hold it."""
    download, disk = WITHOUT_TORCH if pair or sys.platform == "darwin" else WITH_CUDA
    what = f"keeping torch {pair[0]} and torchvision {pair[1]}" if pair else "torch and torchvision included"
    print(f"Setting up {VENV} with Python {platform.python_version()}, {what}:")
    print(f"About {download} GB to download (less what uv has cached), {disk} GB on disk.")
    if not pair and sys.platform != "darwin":
        print("Most of it is CUDA. README, 'A smaller install', says how to bring a CPU pair instead.")
    free = shutil.disk_usage(VENV).free / 1e9
    if free < disk:
        raise SetUpError(f"The disk that holds {VENV} has {free:.1f} GB free and needs {disk}; free some.")


def try_pair(pair: tuple[str, str]) -> None:
    """Load a kept pair once: a CUDA torchvision fits a CPU torch by its metadata and does not load."""
    test = [sys.executable, "-c", "import torch, torchvision"]
    result = subprocess.run(test, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SetUpError(
            f"torch {pair[0]} and torchvision {pair[1]} in {VENV} do not load together ({reason}); "
            "install both from one index, or remove .venv to get the locked pair."
        )


def install() -> None:
    """The half that runs inside .venv. The stamp is written last, so an interrupted set-up goes on."""
    bootstrap()
    pair = kept_pair()
    if not STAMP.exists():
        announce(pair)
    chosen = requirements(LOCK.read_text(), keep_torch=pair is not None)
    CHOSEN.write_text("\n".join(chosen) + "\n")
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--no-deps"]
    subprocess.run([*uv, "--compile-bytecode", "--requirements", str(CHOSEN)], check=True)
    subprocess.run([*uv, "--quiet", "--no-build-isolation", "--editable", str(ROOT)], check=True)
    if pair:
        try_pair(pair)
    STAMP.write_text(fingerprint())
    print("Set up. Next: make demo, make test, or .venv/bin/namesae --help")


def main() -> int:
    """Exit code 0, or 2 after one sentence."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # keeps its place among uv's lines
    os.environ.setdefault("UV_HTTP_TIMEOUT", "300")
    try:
        if Path(sys.prefix).resolve() == VENV.resolve():
            install()
        elif not is_current():
            make_venv(find_python())
            return subprocess.run([str(VENV / "bin" / "python"), __file__]).returncode
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(
            f"{' '.join(error.cmd[:5])} … failed with exit code {error.returncode}; the lines above say why. "
            "Run make again: it goes on where it stopped.",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
