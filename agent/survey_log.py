"""What a batch's survey planned and was charged, in Redis, so that a killed batch goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from agent.survey import SurveyPlan
from sae.feature import Frozen
from tools import keys
from tools.errors import IntegrityError

if TYPE_CHECKING:
    import redis

_SCHEDULE, _PROMPT, _DONE, _SECONDS = "schedule", "prompt:", "done", "seconds"


class Schedule(Frozen):
    """What a batch does, in order."""

    plan: SurveyPlan
    order: tuple[int, ...]
    """Indices of all its features."""


class SurveyLog:
    """One batch's. Several processes may write: what is written first stays."""

    def __init__(self, client: redis.Redis, batch: str) -> None:
        self._client, self._key = client, keys.batch_survey(batch)

    def schedule(self) -> Schedule | None:
        """The schedule; None while there is none."""
        told = cast("bytes | None", self._client.hget(self._key, _SCHEDULE))
        try:
            return None if told is None else Schedule.model_validate_json(told)
        except ValidationError as error:
            raise IntegrityError(
                "The survey of this batch was recorded by another version of namesae; begin another batch."
            ) from error

    def keep(self, schedule: Schedule) -> Schedule:
        """Write down the schedule; the one that counts, which is the first."""
        self._client.hsetnx(self._key, _SCHEDULE, schedule.model_dump_json())
        return self.schedule() or schedule

    def charged(self) -> dict[str, int]:
        """Images charged, by prompt."""
        held = cast("dict[bytes, bytes]", self._client.hgetall(self._key))
        mark = _PROMPT.encode()
        return {name.removeprefix(mark).decode(): int(n) for name, n in held.items() if name.startswith(mark)}

    def note(self, prompts: Mapping[str, int]) -> None:
        """Write down the images charged to prompts."""
        with self._client.pipeline(transaction=True) as pipe:
            for prompt, images in prompts.items():
                pipe.hsetnx(self._key, _PROMPT + prompt, str(images))
            pipe.execute()

    @property
    def done(self) -> bool:
        """Whether all was drawn, scored and banked."""
        return bool(self._client.hexists(self._key, _DONE))

    def finish(self) -> None:
        """Write down that it was."""
        self._client.hset(self._key, _DONE, "1")

    def took(self, seconds: float) -> None:
        """Add to the time it took, over all processes."""
        self._client.hincrbyfloat(self._key, _SECONDS, seconds)

    @property
    def seconds(self) -> float:
        """The time it took."""
        told = cast("bytes | None", self._client.hget(self._key, _SECONDS))
        return 0.0 if told is None else float(told)
