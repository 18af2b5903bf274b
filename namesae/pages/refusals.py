"""Forms that were refused: what is said above them, and the status of their page."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import Request
from starlette.datastructures import FormData

from namesae.pages.page_route import status_of
from namesae.service.errors import NotAllowed
from tools.errors import NamesaeError

MOST = 300
"""Characters of a refusal that are shown."""


class Refused(NamedTuple):
    """What is said above a form; nothing where it was not refused."""

    sentence: str = ""
    status: int = 200


def refused(error: NamesaeError | None) -> Refused:
    """Why a form was refused. NotAllowed is raised again: the login page answers that."""
    if error is None:
        return Refused()
    if isinstance(error, NotAllowed):
        raise error
    return Refused(str(error)[:MOST], status_of(error))


async def form_of(request: Request) -> FormData:
    """The fields of a form, for a handler that runs in a thread."""
    return await request.form(max_files=0, max_fields=100)


def texts_of(form: FormData) -> dict[str, str]:
    """What was typed, to be shown again."""
    return {name: str(value) for name, value in form.items()}
