"""``python -m sandbox.check [--json]``: measure the shipped models on what they never saw; exit 1 below any
gate.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox.gates import Figure, failures
from sandbox.measure_dictionaries import dictionary_figures
from sandbox.measure_models import classifier_figures, clip_figures, generator_figures, reader_figures

MODELS = Path(__file__).parent / "models"
SECTIONS: dict[str, Callable[[Path], list[Figure]]] = {
    "clip": clip_figures,
    "classifier": classifier_figures,
    "reader": reader_figures,
    "generator": generator_figures,
    "dictionaries": dictionary_figures,
}


def main() -> int:
    """Print the figures of the asked sections; 0 when every gate is met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.check", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--only", choices=tuple(SECTIONS), action="append", help="a section; repeatable")
    parser.add_argument("--models", type=Path, default=MODELS)
    args = parser.parse_args()
    figures: list[Figure] = []
    for name in args.only or SECTIONS:
        found = SECTIONS[name](args.models)
        figures += found
        if not args.json:
            print(*found, sep="\n", flush=True)
    missed = failures(figures)
    if args.json:
        rows = [figure.model_dump() | {"passes": figure.passes} for figure in figures]
        print(json.dumps({"schema": 1, "type": "sandbox-check", "passes": not missed, "figures": rows}))
    else:
        print(f"{len(figures) - len(missed)} of {len(figures)} figures as they must be")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
