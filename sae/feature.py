"""The nouns of a dictionary: features, exemplars. Importing this module imports no torch."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Base of every record that crosses a process or is stored: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Feature(Frozen):
    """One direction of one dictionary, written ``dictionary#index``."""

    dictionary: str
    index: int = Field(ge=0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``dictionary#index``; ValueError in one sentence when it is not of that form."""
        dictionary, sep, index = text.rpartition("#")
        if not (sep and dictionary and index.isdecimal()):
            raise ValueError(f"Feature {text!r} is not of the form DICTIONARY#INDEX, e.g. sandbox#17.")
        return cls(dictionary=dictionary, index=int(index))

    def __str__(self) -> str:
        return f"{self.dictionary}#{self.index}"


class Exemplar(Frozen):
    """A probe-set image and the feature's activation on it."""

    image: str
    """sha256 of the image's PNG bytes, lower-case hex."""
    activation: float
