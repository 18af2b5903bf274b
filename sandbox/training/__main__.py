"""``python -m sandbox.training MODEL --steps N``: train one of the sandbox's models and write its folder."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

MODELS = ("clip", "vae", "unet", "classifier", "reader", "dictionaries")


def main() -> None:
    """Parse the command line and run one training to its end."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.training", description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "models")
    parser.add_argument("--work", type=Path, default=Path(".training"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    module = importlib.import_module(f"sandbox.training.{args.model}")
    module.main(args.out, args.work / args.model, steps=args.steps, seed=args.seed)


if __name__ == "__main__":
    main()
