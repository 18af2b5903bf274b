"""How the client speaks to the service: requests with a token, answers as records, failures as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from namesae.service.errors import Conflict, NotAllowed, NotFound, QueueFull
from tools.errors import DependencyError, IntegrityError, NamesaeError, UsageError

Record = TypeVar("Record", bound=BaseModel)
PREFIX = "/api/v1"
TIMEOUT_S = 60.0


class ServerQueueFull(QueueFull):
    """The queue of the service is full."""

    def __init__(self, sentence: str, *, retry_after_s: int) -> None:
        NamesaeError.__init__(self, sentence)
        self.retry_after_s = retry_after_s


class Wire(NamedTuple):
    """A connection to a service."""

    http: httpx.Client

    def get(self, kind: type[Record], path: str, **query: Any) -> Record:
        """A record by its path; queries that are None are left out."""
        return record_of(kind, self.request("GET", path, params=_told(query)))

    def post(
        self, kind: type[Record], path: str, body: BaseModel | None = None, *, key: str | None = None
    ) -> Record:
        """What an order is answered with. ``key``: an Idempotency-Key."""
        headers = {} if key is None else {"Idempotency-Key": key}
        content = None if body is None else body.model_dump_json()
        if content is not None:
            headers["Content-Type"] = "application/json"
        return record_of(kind, self.request("POST", path, content=content, headers=headers))

    def text(self, path: str, **query: Any) -> str:
        """An answer that is no record."""
        return self.request("GET", path, params=_told(query)).text

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """An answer that is no failure; NamesaeError with the service's sentence otherwise."""
        with reached(str(self.http.base_url)):
            answer = self.http.request(method, _placed(path), **options)
        raise_failure(answer)
        return answer

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        """An answer that is read in parts."""
        with (
            reached(str(self.http.base_url)),
            self.http.stream("GET", _placed(path), **options) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise_failure(answer)
            yield answer


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Turn a service that cannot be reached into a DependencyError."""
    try:
        yield
    except httpx.TransportError as error:
        raise DependencyError(f"The service at {url} could not be reached ({error}); start it.") from error


def raise_failure(answer: httpx.Response) -> None:
    """Raise what an answer says went wrong; nothing where nothing did."""
    if not answer.is_error:
        return
    sentence = _sentence(answer)
    status = answer.status_code
    if status in (401, 403):
        raise NotAllowed(sentence, status=status)
    if status == 429:
        raise ServerQueueFull(sentence, retry_after_s=int(answer.headers.get("Retry-After", 10)))
    kinds: dict[int, type[NamesaeError]] = {404: NotFound, 409: Conflict, 503: DependencyError}
    raise kinds.get(status, UsageError if status < 500 else NamesaeError)(sentence)


def _sentence(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url} answered {answer.status_code}, and not as namesae does; check the URL."


def record_of(kind: type[Record], answer: httpx.Response) -> Record:
    """An answer as a record; IntegrityError where it is none."""
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise IntegrityError(
            f"{answer.request.url} is of another version of namesae; use the same here and there."
        ) from error


def _placed(path: str) -> str:
    return path if path.startswith(("/images/", "/healthz", "/readyz", "/metrics")) else PREFIX + path


def _told(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}
