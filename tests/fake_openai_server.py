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
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

Body = dict[str, Any]
Rule = Callable[[Body], "str | Mapping[str, Any]"]


class Fault(NamedTuple):
    """One request that goes wrong."""

    kind: Literal["status", "delay", "raw", "text", "no_usage", "cut", "null"]
    value: Any = None
    """status: its number; delay: seconds; raw: the whole body; text: what the model says."""
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
            return await self._answer(body, self.faults.pop(0) if self.faults else None)

        return app

    async def _answer(self, body: Body, fault: Fault | None) -> Response:
        if fault is None:
            return JSONResponse(completion(body, self._said(body)))
        if fault.kind == "status":
            return _error(fault.value, "as told", headers=fault.headers)
        if fault.kind == "raw":
            return PlainTextResponse(fault.value)
        if fault.kind == "delay":
            await asyncio.sleep(fault.value)
        told = completion(body, fault.value if fault.kind == "text" else self._said(body))
        if fault.kind == "no_usage":
            del told["usage"]
        if fault.kind == "null":
            told["choices"][0]["message"]["content"] = None
        if fault.kind == "cut":
            message = told["choices"][0]["message"]
            message["content"] = message["content"][: len(message["content"]) // 2]
            told["choices"][0]["finish_reason"] = "length"
        return JSONResponse(told)

    def _said(self, body: Body) -> str:
        told = self.rule(body)
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
