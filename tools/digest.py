"""One hash for whatever determines an output."""

from __future__ import annotations

import hashlib
import json


def digest(**facts: object) -> str:
    """First 32 hex digits of the sha256 of the facts as JSON with sorted keys; TypeError if not JSON."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
