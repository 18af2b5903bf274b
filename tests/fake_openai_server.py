"""A real HTTP server on this machine that speaks chat.completions, and misbehaves when told to.

Replies come from a rule over the request; faults are taken one a request, in order, before the rule is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

Body = dict[str, Any]
Rule = Callable[[Body], "str | Mapping[str, Any] | ToolCalls"]


class ToolCalls(NamedTuple):
    """A reply that calls tools."""

    calls: tuple[tuple[str, Any], ...]
    """(name, arguments): a text is sent as it is, anything else as JSON."""
    text: str | None = None


class Fault(NamedTuple):
    """One request that goes wrong."""

    kind: Literal["status", "delay", "raw", "text", "no_usage", "cut", "null", "stream", "endless"]
    value: Any = None
    """status: its number; delay: seconds; raw: the whole body; text: what the model says; stream: the lines
    of one, whose content type may stand in the headers; endless: a line that is sent for ever."""
    headers: Mapping[str, str] = {}  # never written to


def status(number: int, **headers: str) -> Fault:
    """An error of the endpoint."""
    return Fault("status", number, {name.replace("_", "-"): value for name, value in headers.items()})


class FakeOpenAI:
    """The server's behaviour and its memory."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.faults: list[Fault] = []
        self.refused_formats: set[str] = set()
        """Types of response_format that it answers with 400."""
        self.unknown: set[str] = set()
        """Fields of a request that it answers with 400, naming them."""
        self.blind: tuple[int, str] | None = None
        """Status and message with which it answers pictures."""
        self.piece = 7
        """Letters of one piece of a stream."""
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []

    def formats(self) -> list[str | None]:
        """The response_format type of each request."""
        return [(body.get("response_format") or {}).get("type") for body in self.requests]

    def app(self) -> FastAPI:
        """The routes."""
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            body = await request.json()
            self.requests.append(body)
            self.headers.append(dict(request.headers))
            kind = (body.get("response_format") or {}).get("type")
            if kind in self.refused_formats:
                return _error(400, f"response_format {kind} is not supported")
            for field in sorted(self.unknown & set(body)):
                return _error(400, f"unrecognized field {field}")
            if self.blind is not None and "image_url" in json.dumps(body["messages"]):
                return _error(*self.blind)
            return await self._answer(body, self.faults.pop(0) if self.faults else None)

        return app

    async def _answer(self, body: Body, fault: Fault | None) -> Response:
        if fault is None:
            return self._whole(body)
        if fault.kind == "status":
            return _error(fault.value, "as told", headers=fault.headers)
        if fault.kind == "raw":
            return PlainTextResponse(fault.value)
        if fault.kind in ("stream", "endless"):
            kind = dict(fault.headers).get("content-type", "text/event-stream")
            return StreamingResponse(_lines(fault), media_type=kind)
        if fault.kind == "delay":
            await asyncio.sleep(fault.value)
        said = fault.value if fault.kind == "text" else self._said(body)
        return self._sent(body, _spoilt(completion(body, said), fault.kind))

    def _sent(self, body: Body, told: Body) -> Response:
        """The completion in the way it was asked for."""
        if not body.get("stream"):
            # As ASCII: what a model says may be beyond UTF-8.
            return Response(json.dumps(told), media_type="application/json")
        counted = (body.get("stream_options") or {}).get("include_usage", False)
        lines = stream_of(told, piece=self.piece, counted=counted)
        return StreamingResponse(_lines(Fault("stream", lines)), media_type="text/event-stream")

    def _whole(self, body: Body) -> Response:
        told = self.rule(body)
        if isinstance(told, ToolCalls):
            return self._sent(body, calling(body, told))
        return self._sent(body, completion(body, told if isinstance(told, str) else json.dumps(told)))

    def _said(self, body: Body) -> str:
        told = self.rule(body)
        assert not isinstance(told, ToolCalls), "this fault is about text"
        return told if isinstance(told, str) else json.dumps(told)

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Serve until the block ends; the base URL."""
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(self.app(), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
            listening.close()


def completion(body: Body, text: str) -> Body:
    """A chat completion that says ``text``; four characters count as a token."""
    prompt = sum(len(json.dumps(message["content"])) for message in body["messages"]) // 4
    usage = {"prompt_tokens": prompt, "completion_tokens": len(text) // 4}
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def stream_of(told: Body, *, piece: int = 7, counted: bool = True) -> list[str]:
    """A completion as the lines of a stream."""
    choice = told["choices"][0]
    text = choice["message"]["content"] or ""
    frame = {key: told[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def data(choices: list[Body], **more: Any) -> str:
        return f"data: {json.dumps({**frame, 'choices': choices, **more})}\n\n"

    deltas: list[Body] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[at : at + piece]} for at in range(0, len(text), piece)]
    calls = choice["message"].get("tool_calls") or []
    deltas += [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(calls)]
    lines = [data([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    lines.append(data([{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]))
    if counted and "usage" in told:
        lines.append(data([], usage=told["usage"]))
    return [*lines, "data: [DONE]\n\n"]


def _spoilt(told: Body, kind: str) -> Body:
    """The completion with one thing wrong."""
    message = told["choices"][0]["message"]
    if kind == "no_usage":
        del told["usage"]
    if kind == "null":
        message["content"] = None
    if kind == "cut":
        message["content"] = message["content"][: len(message["content"]) // 2]
        told["choices"][0]["finish_reason"] = "length"
    return told


async def _lines(fault: Fault) -> AsyncIterator[str]:
    if fault.kind == "stream":
        for line in fault.value:
            yield line
        return
    while True:
        yield fault.value
        await asyncio.sleep(0.01)


def calling(body: Body, told: ToolCalls) -> Body:
    """A chat completion that calls tools; every call has the same id, as some servers do."""
    made = completion(body, told.text or "")
    calls = [
        {
            "id": "call_0",
            "type": "function",
            "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
        }
        for name, args in told.calls
    ]
    made["choices"][0]["message"] |= {"content": told.text, "tool_calls": calls}
    made["choices"][0]["finish_reason"] = "tool_calls"
    return made


def plan(action: str, **parts: Any) -> Body:
    """A whole plan reply; prompts are given as bare texts."""
    prompts = [{"prompt": text, "intent": "explore", "why": ""} for text in parts.pop("prompts", ())]
    empty = {"thought": "t", "claim": "", "low": 0.0, "high": 1.0, "names": []}
    return {**empty, "action": action, "prompts": prompts, **parts}


def name(text: str, kind: str = "one", **parts: Any) -> Body:
    """One name of a concluding plan."""
    return {"name": text, "kind": kind, "parts": [], "level": 0, "fires": [], "rests": [], **parts}


def _error(number: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "type": "t", "code": None}}, number, headers=headers)
