"""``python -m benchmarks.sae_encoding``: what reading features costs beside the backbone they are read from.

A ViT-B/32 of random weights, by hooks and bare, to its end and to a block half way; one feature of a wide
dictionary beside the backbone's pass; exact TopK beside its own encoder's product. What is compared takes
turns, and a ratio is the median of those of neighbouring turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from torch import Tensor

from sae.backbone import load_backbone
from sae.card import BackboneSpec
from sae.dictionary import SparseDictionary
from sae.hooked import HookedBackbone
from sae.one_feature import one_feature
from sae.sparse_topk import keep_topk, topk_codes

Work = Callable[[], object]


class Compared(NamedTuple):
    """One kind of work beside another."""

    seconds: float
    """Median."""
    ratio: float
    """Median over turns of its time over that of the first kind."""
    least: float
    most: float


def main() -> None:
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    clock = time.process_time if asked.clock == "processor" else time.perf_counter
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        backbone = vit_b_32(Path(folder), device=asked.device)
        images = torch.randn(asked.images, 3, 224, 224, device=asked.device)
        for title, works in (
            ("hooks", hooks(backbone, images)),
            *(
                (f"one feature of {asked.features}, {name}", w)
                for name, w in features(backbone, images, asked)
            ),
            *(
                (f"exact TopK of {asked.features}, k {asked.k}", topk(asked, rows))
                for rows in (asked.images, 512)
            ),
        ):
            print(title)
            for name, each in compare(works, turns=asked.turns, clock=clock).items():
                span = f"{each.least:.3f}..{each.most:.3f}"
                print(f"  {name:<44}{each.seconds * 1e3:>10.2f} ms{each.ratio:>9.3f} x   {span}")


def vit_b_32(folder: Path, *, device: str) -> HookedBackbone:
    """CLIP's image tower at ViT-B/32's size, through the loader that reads downloaded ones."""
    config = transformers.CLIPVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        patch_size=32,
        image_size=224,
        projection_dim=512,
    )
    torch.manual_seed(0)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    loaded = load_backbone(BackboneSpec(kind="transformers", source=str(folder)), device=device)
    assert isinstance(loaded, HookedBackbone)
    return loaded


def hooks(backbone: HookedBackbone, images: Tensor) -> dict[str, Work]:
    """The pass alone, with every block read, and stopped after some of them."""
    everything = ["pooled", *(f"block.{at}" for at in range(12))]
    return {
        "bare pass": lambda: backbone.tower.embed(images),
        "pass with one block read": lambda: backbone.activations(images, ["pooled", "block.10"]),
        "pass with all blocks read": lambda: backbone.activations(images, everything),
        "stopped after block 5 (of 0 to 11)": lambda: backbone.activations(images, ["block.5"]),
        "stopped after block 2": lambda: backbone.activations(images, ["block.2"]),
    }


def features(
    backbone: HookedBackbone, images: Tensor, asked: argparse.Namespace
) -> list[tuple[str, dict[str, Work]]]:
    """The pass to block 10, and one feature of what it found there."""
    read = ["block.10"]
    held = backbone.activations(images, read)["block.10"]

    def works(dictionary: SparseDictionary) -> dict[str, Work]:
        return {
            "backbone": lambda: backbone.activations(images, read),
            "one feature, of class tokens": lambda: one_feature(dictionary, held[:, 0], 17),
            "one feature, of every token": lambda: one_feature(dictionary, held, 17),
        }

    kinds: dict[str, dict[str, object]] = {
        "relu": {},
        "jumprelu": {"threshold": torch.full((asked.features,), 2.0, device=asked.device)},
        "batchtopk": {"k": asked.k, "threshold": torch.tensor(2.0, device=asked.device)},
        "topk": {"k": asked.k},
    }
    return [(kind, works(_dictionary(asked, kind, **with_))) for kind, with_ in kinds.items()]


def topk(asked: argparse.Namespace, rows: int) -> dict[str, Work]:
    """The encoder's product into memory it has, and what exact TopK makes of it."""
    dictionary = _dictionary(asked, "topk", k=asked.k)
    x = torch.randn(rows, 768, device=asked.device)
    out = torch.empty(rows, asked.features, device=asked.device)

    def product() -> Tensor:
        return torch.addmm(dictionary.b_enc, x, dictionary.W_enc, out=out)

    return {
        f"encoder's product, {rows} rows": product,
        "topk_codes of it: values and indices": lambda: topk_codes(product(), asked.k),
        "keep_topk of it: a dense code": lambda: keep_topk(product(), asked.k),
        "torch.topk of it": lambda: product().topk(asked.k, dim=1, sorted=False),
        "SparseDictionary.encode": lambda: dictionary.encode(x),
    }


def _dictionary(asked: argparse.Namespace, architecture: str, **choices: object) -> SparseDictionary:
    weights = torch.randn(768, asked.features, device=asked.device).mul_(768**-0.5)
    zeros = torch.zeros(asked.features, device=asked.device)
    centre, one = torch.zeros(768, device=asked.device), torch.ones((), device=asked.device)
    return SparseDictionary(architecture, weights, zeros, weights.T, centre, centre, one, **choices)  # type: ignore[arg-type]


def compare(works: Mapping[str, Work], *, turns: int, clock: Callable[[], float]) -> dict[str, Compared]:
    """Each in turn, one turn of them uncounted."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns + 1):
        for name, work in works.items():
            begun = clock()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(clock() - begun)
    first = next(iter(seconds.values()))[1:]
    found = {}
    for name, spent in seconds.items():
        ratios = [each / beside for each, beside in zip(spent[1:], first, strict=True)]
        found[name] = Compared(
            statistics.median(spent[1:]), statistics.median(ratios), min(ratios), max(ratios)
        )
    return found


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--features", type=int, default=65_536)
    asked.add_argument("--k", type=int, default=32)
    asked.add_argument("--images", type=int, default=64)
    asked.add_argument("--turns", type=int, default=9)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--clock", choices=("wall", "processor"), default="wall")
    return asked.parse_args()


if __name__ == "__main__":
    main()
