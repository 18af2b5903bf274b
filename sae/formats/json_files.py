"""The small JSON files that lie beside weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sae.errors import BadDictionary
from sae.formats.budget import Budget
from sae.formats.tree import TreeBuilder

LARGEST = 2**20
MOST = 64
CONFIGS = frozenset({"cfg.json", "config.json", "activation_scaler.json"})
"""Files that say what weights mean: broken ones are refused, others left out."""


def read_json(raw: bytes) -> Any:
    """What a JSON text holds; BadDictionary where it is none or is nested too deeply."""
    try:
        held = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadDictionary("it is not JSON") from error
    return TreeBuilder(Budget.of(len(raw))).build(held)


def read_companions(folder: Path) -> dict[str, Any]:
    """The JSON files of a folder by name. BadDictionary names a broken one of CONFIGS."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json"))[:MOST]:
        if not path.is_file() or (path.stat().st_size > LARGEST and path.name not in CONFIGS):
            continue
        try:
            found[path.name] = _read(path)
        except BadDictionary as error:
            if path.name in CONFIGS:
                raise BadDictionary(f"{path} cannot be used: {error}; get it again.") from error
    return found


def _read(path: Path) -> Any:
    if path.stat().st_size > LARGEST:
        raise BadDictionary(f"it is larger than {LARGEST:,} bytes")
    return read_json(path.read_bytes())
