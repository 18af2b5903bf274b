"""A dictionary folder written with numpy alone: a card, decoder rows, and what goes beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from namesae.dictionaries import Listed, find_dictionary, shipped_folder
from namesae.real_models import probe_folders
from namesae.settings import Settings
from sae.card import BackboneSpec, DictionaryCard, ProbeSet, write_card
from tools.exemplars import build_probe_set, codes_of
from tools.protocols import Floats


def write_weightless(home: Path, name: str, decoder: Floats, **card: Any) -> Path:
    """A dictionary of a person's own with these (F, d) directions on the sandbox's CLIP; its folder."""
    folder = home / "dictionaries" / name
    folder.mkdir(parents=True)
    save_file({"W_enc": decoder.T.copy(), "W_dec": decoder}, folder / "dictionary.safetensors")
    given: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "backbone": BackboneSpec(kind="open_clip", source=str(shipped_folder() / "clip")),
        "hook_point": "pooled",
        "probe_set": ProbeSet(source="sandbox.sets", images=3000),
        "architecture": "topk",
        "width": decoder.shape[1],
        "n_features": len(decoder),
        "k": 4,
        "weights": "0" * 64,
    }
    write_card(DictionaryCard.model_validate(given | card), folder)
    return folder


def write_probe(name: str, settings: Settings, activations: npt.NDArray[np.float64]) -> Path:
    """The scored probe pictures of a dictionary, (n, F); their folder."""
    listed: Listed = find_dictionary(name, settings)
    folder = probe_folders(listed, settings)[0]
    images = [f"{at:064x}" for at in range(len(activations))]
    codes = codes_of(activations.astype(np.float32))
    build_probe_set(folder, images, codes, n_features=activations.shape[1], scorer="made")
    return folder
