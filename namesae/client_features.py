"""The client's calls about dictionaries, their features, images and exports."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from agent.records import Explanation
from namesae.client_wire import Wire, record_of
from namesae.service.api_records import (
    ActivationList,
    DictionaryList,
    ExplanationList,
    FeatureDetail,
    HitList,
)
from namesae.service.exporting import FormName
from namesae.service.feature_query import (
    DictionaryRow,
    FeatureActivation,
    FeaturePage,
    FeatureQuery,
    Hit,
    Scatter,
    SearchBy,
    SimilarBy,
)
from namesae.service.pictures import Side


class FeatureCalls:
    """Dictionaries and their features."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def dictionaries(self) -> tuple[DictionaryRow, ...]:
        """Every dictionary."""
        return self._wire.get(DictionaryList, "/dictionaries").dictionaries

    def dictionary(self, name: str) -> DictionaryRow:
        """One dictionary; NotFound."""
        return self._wire.get(DictionaryRow, _path(name))

    def rows(self, dictionary: str, query: FeatureQuery | None = None) -> FeaturePage:
        """A page of its features; NotFound."""
        told = (query or FeatureQuery()).model_dump(mode="json", exclude_defaults=True)
        return self._wire.get(FeaturePage, f"{_path(dictionary)}/features", **told)

    def feature(self, dictionary: str, index: int) -> FeatureDetail:
        """A feature with its latest answer; NotFound."""
        return self._wire.get(FeatureDetail, f"{_path(dictionary)}/features/{index}")

    def history(self, dictionary: str, index: int, *, limit: int = 10) -> tuple[Explanation, ...]:
        """Its answers, latest first; NotFound."""
        path = f"{_path(dictionary)}/features/{index}/history"
        return self._wire.get(ExplanationList, path, limit=limit).explanations

    def similar(
        self, dictionary: str, index: int, *, by: SimilarBy = "decoder", limit: int = 12
    ) -> tuple[Hit, ...]:
        """Other features, nearest first; UsageError where that is not known."""
        path = f"{_path(dictionary)}/features/{index}/similar"
        return self._wire.get(HitList, path, by=by, limit=limit).hits

    def search(
        self, text: str, *, dictionary: str | None = None, by: SearchBy = "name", limit: int = 50
    ) -> tuple[Hit, ...]:
        """Named features by name or meaning, best first."""
        return self._wire.get(HitList, "/search", q=text, dictionary=dictionary, by=by, limit=limit).hits

    def scatter(self, dictionary: str) -> Scatter:
        """Density against activation scale; NotFound."""
        return self._wire.get(Scatter, f"{_path(dictionary)}/scatter")

    def top_features(
        self, image: bytes, *, dictionary: str, limit: int = 20
    ) -> tuple[FeatureActivation, ...]:
        """The features most active on a PNG, JPEG or WEBP; UsageError for anything else."""
        answer = self._wire.request(
            "POST",
            f"{_path(dictionary)}/top-features",
            params={"limit": limit},
            files={"image": ("image", image, "application/octet-stream")},
        )
        return record_of(ActivationList, answer).activations

    def image(self, sha: str, side: Side | None = None) -> bytes:
        """A picture as PNG, or a thumbnail of it as WEBP; NotFound."""
        params = {} if side is None else {"side": side}
        return self._wire.request("GET", f"/images/{quote(sha, safe='')}", params=params).content

    def export(self, dictionary: str, form: FormName = "csv", *, out: Path | str) -> Path:
        """Write the dictionary's answers to a file as they come; NotFound."""
        path = Path(out)
        with (
            self._wire.stream(f"{_path(dictionary)}/export", params={"format": form}) as answer,
            path.open("wb") as file,
        ):
            for part in answer.iter_raw():
                file.write(part)
        return path


def _path(dictionary: str) -> str:
    return f"/dictionaries/{quote(dictionary, safe='')}"
