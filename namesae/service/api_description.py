"""The OpenAPI description, made exact: what errors are, what a created thing leads to; no pages."""

from __future__ import annotations

from typing import Any

from namesae.service.api_words import PREFIX

OURS = (f"{PREFIX}/", "/images/", "/healthz", "/readyz", "/metrics")
ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
LEADS_TO = {
    "start_run": (
        "run",
        "run",
        ("get_run", "pause_run", "resume_run", "cancel_run", "review_run", "get_trace"),
    ),
    "start_batch": (
        "id",
        "batch",
        ("get_batch", "list_batch_rows", "pause_batch", "resume_batch", "cancel_batch"),
    ),
    "issue_token": ("token/name", "name", ("get_token", "revoke_token")),
}
"""By operation: where its answer says the id, what parameter that is, and the operations that take it."""


def exact(schema: dict[str, Any]) -> dict[str, Any]:
    """The description that FastAPI makes, corrected in place."""
    schema["paths"] = {path: told for path, told in schema["paths"].items() if path.startswith(OURS)}
    for methods in schema["paths"].values():
        for operation in methods.values():
            _correct(operation)
    return schema


def _correct(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if int(status) >= 400:
            answer["content"] = ERROR
        elif len(content) > 1:
            # Beside what the route declares stands the type of its response class.
            content.pop(_undeclared(content), None)
    if operation["operationId"] in LEADS_TO:
        _add_links(operation)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be absent: it cannot be null, which is four letters in a URL."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{name: told for name, told in schema.items() if name != "anyOf"}, **kinds[0]}


def _undeclared(content: dict[str, Any]) -> str:
    bare = [media for media, told in content.items() if told.get("schema") == {"type": "string"}]
    return "text/plain" if "text/plain" in bare and len(bare) > 1 else ""


def _add_links(operation: dict[str, Any]) -> None:
    field, parameter, targets = LEADS_TO[operation["operationId"]]
    created = next(status for status in operation["responses"] if status in ("201", "202"))
    operation["responses"][created]["links"] = {
        target: {"operationId": target, "parameters": {parameter: f"$response.body#/{field}"}}
        for target in targets
    }
