"""What the URIs in the tools' answers lead to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from agent.records import Explanation
from namesae.mcp_tools import THUMBNAIL
from namesae.mcp_work import eval_answer
from namesae.service.errors import NotFound
from namesae.service.feature_query import DictionaryRow

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from namesae.service.service import Service

_ROWS: TypeAdapter[tuple[DictionaryRow, ...]] = TypeAdapter(tuple[DictionaryRow, ...])
_JSON, _MARKDOWN = "application/json", "text/markdown"


class Resources:
    """The readable things of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def dictionaries(self) -> str:
        """Every dictionary, and how far it is named."""
        return _ROWS.dump_json(self._service.features.dictionaries(), indent=2).decode()

    def feature(self, dictionary: str, index: str) -> str:
        """The whole latest explanation of a feature."""
        told = self._service.features.latest(dictionary, _index(dictionary, index))
        if told is None:
            raise NotFound(f"Feature {dictionary}#{index} has not been named yet; call name_feature.")
        return told.model_dump_json()

    def run(self, run: str) -> str:
        """A run's whole trace: events, LLM messages, race, control activations."""
        return self._service.runs.trace(run).model_dump_json()

    def run_markdown(self, run: str) -> str:
        """A run as text."""
        return self._service.runs.markdown(run)

    def image(self, sha: str) -> bytes:
        """A picture as PNG."""
        return self._service.pictures.png(sha)

    def thumbnail(self, sha: str) -> bytes:
        """A picture within 192 x 192 pixels."""
        return self._service.pictures.thumbnail(sha, THUMBNAIL)

    def evaluation(self, id: str) -> str:
        """How an evaluation stands, and its leaderboard."""
        return eval_answer(self._service, id).model_dump_json()

    def explanation_schema(self) -> str:
        """JSON schema of an explanation."""
        return TypeAdapter(dict[str, Any]).dump_json(Explanation.model_json_schema()).decode()


def add_resources(server: MCPServer[Any], service: Service) -> None:
    """Register them all."""
    of = Resources(service)
    told: tuple[tuple[str, str, Callable[..., Any], str], ...] = (
        ("namesae://dictionaries", "dictionaries", of.dictionaries, _JSON),
        ("namesae://schema/explanation", "explanation_schema", of.explanation_schema, _JSON),
        ("namesae://feature/{dictionary}/{index}", "feature", of.feature, _JSON),
        ("namesae://run/{run}", "run", of.run, _JSON),
        ("namesae://run/{run}/markdown", "run_markdown", of.run_markdown, _MARKDOWN),
        ("namesae://image/{sha}", "image", of.image, "image/png"),
        ("namesae://thumbnail/{sha}", "thumbnail", of.thumbnail, "image/webp"),
        ("namesae://eval/{id}", "eval", of.evaluation, _JSON),
    )
    for uri, name, read, kind in told:
        server.resource(uri, name=name, mime_type=kind, description=read.__doc__)(read)


def _index(dictionary: str, index: str) -> int:
    if not (index.isascii() and index.isdecimal() and len(index) <= 7):
        raise NotFound(f"Feature {dictionary[:60]}#{index[:20]} does not exist; its index is a number.")
    return int(index)
