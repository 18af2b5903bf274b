"""A store whose writer dies at any step: what is left is continued, and ends as if it never had been."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from sae.card import BackboneSpec
from sae.errors import BadStore
from sae.image_source import PictureList
from sae.store.extract import Extraction, LoadedBackbone, Wanted
from sae.store.reader import check_sums, open_store

ROOT = Path(__file__).parent.parent
KILLED = 9


class Brightness:
    """A backbone of one token that says how bright an image is."""

    hook_points = ("pooled",)
    n_prefix_tokens, has_cls, has_text = 0, False, False

    def preprocess(self, images: Sequence[Image.Image]) -> torch.Tensor:
        return torch.tensor([image.tobytes()[0] for image in images]).float().view(-1, 1, 1, 1)

    def activations(self, pixels: torch.Tensor, hook_points: Sequence[str]) -> dict[str, torch.Tensor]:
        return {name: pixels.view(-1, 1) * torch.arange(1.0, 4) for name in hook_points}


def extraction() -> Extraction:
    source = PictureList("levels", lambda row: Image.new("RGB", (2, 2), (row, row, row)), 10)
    backbone = LoadedBackbone(Brightness(), BackboneSpec(kind="timm", source="none"), "none")  # type: ignore[arg-type]
    return Extraction(source, backbone, Wanted(("pooled",), batch_size=2, shard_images=4, workers=1))


def die_at(step: int, folder: Path) -> bool:
    """Extract in a process that ends without a word at its n-th write or rename; whether it did."""
    child = os.fork()
    if child == 0:
        left = [step]

        def dying(event: str, arguments: tuple[object, ...]) -> None:
            written = (
                event == "open" and str(arguments[0]).startswith(str(folder)) and "w" in str(arguments[1])
            )
            if event == "os.rename" or written:
                left[0] -= 1
                if not left[0]:
                    os._exit(KILLED)

        sys.addaudithook(dying)
        extraction().run(folder)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def main(folder: Path) -> None:
    """Die at the first step, the second, ...; each time what is left must be continued to the same store."""
    extraction().run(folder / "whole")
    whole = {
        path.relative_to(folder / "whole"): path for path in (folder / "whole").rglob("*") if path.is_file()
    }
    step = 1
    while die_at(step, store := folder / f"killed-{step}"):
        try:
            open_store(store)
        except BadStore:
            extraction().run(store)
        check_sums(store)
        left = {path.relative_to(store): path for path in store.rglob("*") if path.is_file()}
        assert left.keys() == whole.keys(), (step, left.keys() ^ whole.keys())
        assert all(left[name].read_bytes() == whole[name].read_bytes() for name in whole), step
        step += 1
    # Three shards of three files each, the plan and the manifest: opened, then renamed.
    assert step > 20, step


@pytest.mark.slow
def test_a_writer_that_dies_at_any_step_leaves_what_can_be_continued(tmp_path: Path) -> None:
    # Forks want a process without threads, so not this one.
    command = [sys.executable, "-m", "tests.test_store_kills", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    main(Path(sys.argv[1]))
