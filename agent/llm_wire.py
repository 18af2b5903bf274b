"""Messages and pictures as chat.completions wants them. Pure but for reading the pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

from agent.llm_ways import Mode, Way
from agent.prompting import Message
from tools.errors import IntegrityError

JPEG_QUALITY = 90


def wire_of(
    messages: Sequence[Message], *, png: Callable[[str], bytes] | None, side: int
) -> list[dict[str, Any]]:
    """The messages; pictures at most ``side`` pixels wide and high. Without ``png`` there are none."""
    return [_message(each, png=png, side=side) for each in messages]


def blinded(wire: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without their pictures."""
    return [{**each, "content": _text_of(each.get("content"))} for each in wire]


def shrunk(wire: Sequence[dict[str, Any]], *, side: int) -> list[dict[str, Any]]:
    """The messages with the pictures that stand in them as data URLs made no larger than ``side``."""
    return [{**each, "content": _shrunk(each.get("content"), side=side)} for each in wire]


def shows_pictures(wire: Sequence[dict[str, Any]]) -> bool:
    """Whether any message has a picture."""
    parts = (part for each in wire if isinstance(each.get("content"), list) for part in each["content"])
    return any(_is_picture(part) for part in parts)


def response_format(mode: Mode, schema: dict[str, Any]) -> dict[str, Any]:
    """How a mode is asked for; nothing for plain prompts."""
    if mode == "prompt":
        return {}
    if mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    strict = {"name": "plan", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": strict}}


def stream_options(way: Way, *, heard: bool) -> dict[str, Any]:
    """How a stream is asked for; nothing where nobody listens or the endpoint knows no streams."""
    if not (heard and way.streams):
        return {}
    return {"stream": True, "stream_options": {"include_usage": True}} if way.counted else {"stream": True}


def data_url(data: bytes, *, side: int) -> str:
    """A picture as a data URL, made smaller where it is larger than ``side``. OSError for no picture."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
        kind = (picture.format or "").lower()
        if max(picture.size) > side or kind == "webp":
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            smaller = io.BytesIO()
            picture.convert("RGB").save(smaller, "JPEG", quality=JPEG_QUALITY)
            kind, data = "jpeg", smaller.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _message(message: Message, *, png: Callable[[str], bytes] | None, side: int) -> dict[str, Any]:
    if not message.images or png is None:
        return {"role": message.role, "content": message.text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}]
    if message.caption:
        parts.append({"type": "text", "text": message.caption})
    for image in message.images:
        try:
            url = data_url(png(image), side=side)
        except (OSError, SyntaxError) as error:
            raise IntegrityError(
                f"Image {image} of the image store cannot be read; draw it again."
            ) from error
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return {"role": message.role, "content": parts}


def _text_of(content: Any) -> Any:
    if not isinstance(content, list) or not any(_is_picture(part) for part in content):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def _shrunk(content: Any, *, side: int) -> Any:
    if not isinstance(content, list):
        return content
    return [_smaller(part, side=side) if _is_picture(part) else part for part in content]


def _smaller(part: dict[str, Any], *, side: int) -> dict[str, Any]:
    url = part["image_url"]["url"]
    head, _, data = url.partition(";base64,")
    if not head.startswith("data:image/"):
        return part
    try:
        return {**part, "image_url": {"url": data_url(base64.b64decode(data), side=side)}}
    except (OSError, SyntaxError, ValueError):
        # What is no picture is the endpoint's to refuse.
        return part


def _is_picture(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"
