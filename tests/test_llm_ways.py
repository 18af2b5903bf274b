"""How an endpoint wants to be asked is found once, and remembered by every process until that fails."""

from __future__ import annotations

import io
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis as redis_module
from PIL import Image

from agent.llm import Chat, Endpoint
from agent.llm_ways import MODES, Asked, Refused, Way, WayMemory, next_way
from agent.llm_wire import blinded, data_url
from agent.plan_reply import reply_schema
from agent.prompting import Message
from tests.fake_openai_server import FakeOpenAI, plan
from tests.views import tiny_png
from tools import keys
from tools.errors import DependencyError, IntegrityError

ASK = (Message(role="user", text="u"),)
LOOK = (Message(role="user", text="look", images=("a", "b"), caption="Two pictures."),)


@pytest.fixture
def server() -> FakeOpenAI:
    return FakeOpenAI(lambda body: plan("draw", prompts=["a fish"]))


@pytest.fixture
def url(server: FakeOpenAI) -> Iterator[str]:
    Chat.forget_modes()
    with server.serve() as address:
        yield address


def chat(url: str, redis: redis_module.Redis | None = None, **changes: Any) -> Chat:
    png = changes.pop("png", lambda image: tiny_png())
    options = {"model": "m", "base_url": url, "timeout_s": 5.0, "retries": 0, **changes}
    memory = None if redis is None else WayMemory(redis)
    return Chat(Endpoint(**options), api_key="k", png=png, memory=memory)


def test_another_process_asks_at_once_in_the_way_that_worked(
    server: FakeOpenAI, url: str, redis: redis_module.Redis
) -> None:
    server.refused_formats = {"json_schema", "json_object"}
    chat(url, redis).ask(ASK, reply_schema())
    Chat.forget_modes()
    chat(url, redis).ask(ASK, reply_schema())
    chat(url, redis, model="other").ask(ASK, reply_schema())
    assert server.formats() == ["json_schema", "json_object", None, None, "json_schema", "json_object", None]
    assert all(0 < redis.ttl(key) <= 7 * 24 * 3600 for key in redis.keys("*"))


def test_a_remembered_way_that_is_refused_later_gives_way_to_the_next(
    server: FakeOpenAI, url: str, redis: redis_module.Redis
) -> None:
    server.refused_formats = {"json_schema"}
    chat(url, redis).ask(ASK, reply_schema())
    Chat.forget_modes()
    server.refused_formats = {"json_schema", "json_object"}
    assert chat(url, redis).ask(ASK, reply_schema()).mode == "prompt"
    Chat.forget_modes()
    assert chat(url, redis).ask(ASK, reply_schema()).mode == "prompt"
    assert server.formats() == ["json_schema", "json_object", "json_object", None, None]


def test_what_another_version_remembered_is_forgotten(url: str, redis: redis_module.Redis) -> None:
    memory = WayMemory(redis)
    memory.remember(url, "m", way=Way(mode="prompt"))
    (key,) = [str(each.decode()) for each in cast("list[bytes]", redis.keys("*"))]
    assert key.startswith(keys.endpoint("")) and url not in key
    redis.set(key, b'{"mode": "telepathy"}')
    assert memory.recall(url, "m") is None
    assert chat(url, redis).ask(ASK, {}).mode == "json_schema"


def test_pictures_arrive_as_data_urls_no_larger_than_asked(server: FakeOpenAI, url: str) -> None:
    sizes = {"a": (40, 30), "b": (90, 300)}
    seeing = chat(url, sees=True, image_side=64, png=lambda image: tiny_png(*sizes[image]))
    assert not seeing.ask(LOOK, {}).blind
    text, caption, *pictures = server.requests[0]["messages"][0]["content"]
    assert (text["text"], caption["text"]) == ("look", "Two pictures.")
    kinds, found = [], []
    for part in pictures:
        head, _, data = part["image_url"]["url"].partition(";base64,")
        kinds.append(head)
        found.append(Image.open(io.BytesIO(b64decode(data))).size)
    assert kinds == ["data:image/png", "data:image/jpeg"]
    assert found == [(40, 30), (19, 64)]


def test_pictures_are_not_sent_to_who_cannot_see(server: FakeOpenAI, url: str) -> None:
    reply = chat(url).ask(LOOK, {})
    assert server.requests[0]["messages"] == [{"role": "user", "content": "look"}]
    assert not reply.blind
    assert LOOK[0].told() == "look\nTwo pictures.\nimage:a\nimage:b"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "Invalid content type. image_url is only supported by certain models."),
        (500, "image input is not supported by this server"),
        (404, "No endpoints found that support image input"),
        (415, "Unsupported Media Type"),
        (422, "messages[0].content must be a string"),
    ],
)
def test_an_endpoint_that_refuses_pictures_is_asked_without_and_remembered(
    status: int, said: str, server: FakeOpenAI, url: str, redis: redis_module.Redis
) -> None:
    server.blind = (status, said)
    reply = chat(url, redis, sees=True).ask(LOOK, {})
    assert (reply.blind, reply.fault) == (True, None)
    assert server.requests[1]["messages"] == [{"role": "user", "content": "look"}]
    assert server.formats() == ["json_schema", "json_schema"]
    Chat.forget_modes()
    assert chat(url, redis, sees=True).ask(LOOK, {}).blind
    assert not chat(url, redis, sees=True).ask(ASK, {}).blind
    assert len(server.requests) == 4


def test_an_error_about_the_format_blinds_nobody() -> None:
    asked = Asked(formatted=True, streamed=False, pictures=True)
    refusal = Refused(400, "response_format json_schema is not supported for vision models")
    assert next_way(Way(), refusal, asked=asked) == Way(mode="json_object")


def test_a_refusal_always_takes_something_away_or_ends_it() -> None:
    for said in ("no", "stream_options unknown", "no streams", "no images here"):
        for asked in (Asked(f, s, p) for f in (0, 1) for s in (0, 1) for p in (0, 1)):  # type: ignore[arg-type]
            way: Way | None = Way()
            tried = []
            while way is not None:
                assert way not in tried
                tried.append(way)
                has = Asked(
                    bool(asked.formatted) and way.mode != MODES[-1],
                    bool(asked.streamed) and way.streams,
                    bool(asked.pictures) and way.sees,
                )
                way = next_way(way, Refused(400, said), asked=has)
            assert len(tried) <= 8


def test_a_picture_that_is_none_is_told(url: str) -> None:
    with pytest.raises(IntegrityError, match="Image a of the image store"):
        chat(url, sees=True, png=lambda image: b"no picture").ask(LOOK, {})
    with pytest.raises(OSError):
        data_url(b"%!PS-Adobe", side=64)


def test_turns_with_tools_shrink_pictures_and_do_without(server: FakeOpenAI, url: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": data_url(tiny_png(90, 30), side=512)}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "look"}, picture]}]
    small = chat(url, image_side=32)
    small.tools_turn(messages, [])
    sent = server.requests[0]["messages"][0]["content"][1]["image_url"]["url"]
    assert Image.open(io.BytesIO(b64decode(sent.partition("base64,")[2]))).size == (32, 11)
    server.blind = (400, "this model takes no images")
    assert small.tools_turn(messages, []).fault is None
    assert server.requests[-1]["messages"] == [{"role": "user", "content": "look"}] == blinded(messages)


def test_an_endpoint_without_tools_is_told_in_a_sentence(server: FakeOpenAI, url: str) -> None:
    server.unknown = {"tools"}
    tools = [{"type": "function", "function": {"name": "draw", "parameters": {"type": "object"}}}]
    with pytest.raises(DependencyError, match="takes no tools"):
        chat(url).tools_turn([{"role": "user", "content": "u"}], tools)
