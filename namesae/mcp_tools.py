"""The tools that other programs call over MCP, and the scope each asks for.

A tool's signature and docstring are what its callers see.
"""

from __future__ import annotations

import base64
import binascii
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import anyio.to_thread
from mcp.types import CallToolResult, ImageContent, TextContent
from pydantic import Field

from namesae.mcp_records import (
    ActiveFeature,
    ActiveFeatures,
    ComparedFeature,
    ComparedMethods,
    FeatureAnswer,
    FoundFeature,
    FoundFeatures,
    TraceAnswer,
    eval_uri,
    feature_uri,
    run_uri,
)
from namesae.mcp_traces import trace_answer
from namesae.service.evaluation_records import Measure
from namesae.service.feature_query import SearchBy, SimilarBy
from namesae.service.orders import FeatureName, SafeId
from tools.errors import UsageError
from tools.protocols import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from namesae.service.evaluation_records import Comparison, PairedRow
    from namesae.service.service import Service
    from namesae.service.tokens import Scope

SCOPES: Mapping[str, Scope] = MappingProxyType(
    {
        "name_feature": "run",
        "get_feature": "read",
        "search_features": "read",
        "similar_features": "read",
        "top_features_for_image": "read",
        "get_trace": "read",
        "run_eval": "run",
        "compare_methods": "read",
    }
)
"""By tool."""

MOST_IMAGE = 10 * 2**20
"""Bytes of a picture that is sent as an argument."""
THUMBNAIL = 192

FeatureArgument = Annotated[FeatureName, Field(description="DICTIONARY#INDEX, e.g. sandbox#17.")]
Dictionary = Annotated[str, Field(min_length=1, max_length=200, description="Name of a dictionary.")]
Limit = Annotated[int, Field(ge=1, le=100, description="Most features to answer with.")]


class ReadingTools:
    """The tools that only look."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def get_feature(
        self,
        feature: FeatureArgument,
        pictures: Annotated[
            int, Field(ge=0, le=8, description="How many of its images to attach as thumbnails.")
        ] = 0,
    ) -> Annotated[CallToolResult, FeatureAnswer]:
        """What is known of a feature: its name, how sure it is, rivals, figures, images, its run."""
        found = await anyio.to_thread.run_sync(self._feature, feature)
        shown = [*found.judged[: (pictures + 1) // 2], *found.exemplars][:pictures]
        images = [await anyio.to_thread.run_sync(self._thumbnail, each.uri) for each in shown]
        return CallToolResult(
            content=[TextContent(type="text", text=found.model_dump_json(indent=2)), *images],
            structured_content=found.model_dump(mode="json"),
        )

    def search_features(
        self,
        text: Annotated[str, Field(min_length=1, max_length=200, description="Words of the name.")],
        dictionary: Annotated[
            str | None, Field(max_length=200, description="Only in this one; null for all.")
        ] = None,
        by: Annotated[
            SearchBy, Field(description="'name': its words; 'meaning': cosine of texts, slower at first.")
        ] = "name",
        limit: Limit = 20,
    ) -> FoundFeatures:
        """Find named features by what their names say."""
        hits = self._service.features.search(text, dictionary=dictionary, by=by, limit=limit)
        found = (FoundFeature.of(hit.dictionary, hit.row, score=hit.score) for hit in hits)
        return FoundFeatures(by=by, hits=tuple(found))

    def similar_features(
        self,
        feature: FeatureArgument,
        by: Annotated[
            SimilarBy,
            Field(description="Cosine of decoder directions, words of the names, or activations."),
        ] = "decoder",
        limit: Limit = 12,
    ) -> FoundFeatures:
        """Other features of the same dictionary that are near a feature."""
        dictionary, index = split_feature(feature)
        hits = self._service.features.similar(dictionary, index, by=by, limit=limit)
        found = (FoundFeature.of(hit.dictionary, hit.row, score=hit.score) for hit in hits)
        return FoundFeatures(by=by, hits=tuple(found))

    def top_features_for_image(
        self,
        dictionary: Dictionary,
        image: Annotated[
            str,
            Field(
                max_length=MOST_IMAGE * 4 // 3 + 100,
                description="PNG, JPEG or WEBP as base64 or a data: URL, at most 10 MB; or the "
                "namesae://image/... URI of an image of this service.",
            ),
        ],
        limit: Limit = 20,
    ) -> ActiveFeatures:
        """Run an image through the backbone and a dictionary: the features most active on it."""
        data = self._picture(image)
        found = self._service.features.top_features(data, dictionary=dictionary, limit=limit)
        hits = []
        for each in found:
            score = each.activation if each.relative is None else each.relative
            base = FoundFeature.of(dictionary, each.row, score=score)
            hits.append(ActiveFeature(**base.model_dump(), activation=each.activation, fires=each.fires))
        return ActiveFeatures(dictionary=dictionary, hits=tuple(hits))

    def get_trace(
        self,
        run: Annotated[SafeId, Field(description="Run id, as name_feature and get_feature give it.")],
        most_lines: Annotated[int, Field(ge=1, le=1000, description="Most lines, the latest.")] = 200,
    ) -> TraceAnswer:
        """How a name was found, or is being found: each step, each prompt with its images and activations."""
        return trace_answer(self._service, run, most_lines=most_lines)

    def compare_methods(
        self,
        evaluation: Annotated[SafeId, Field(description="Id of an evaluation, as run_eval gives it.")],
        a: Annotated[str, Field(max_length=200, description="A condition, e.g. agent.")],
        b: Annotated[str, Field(max_length=200, description="Another, e.g. clip-dissect.")],
        measure: Annotated[Measure, Field(description="What they are compared by.")] = "accuracy",
        most_rows: Annotated[int, Field(ge=0, le=500, description="Most features to list.")] = 50,
    ) -> ComparedMethods:
        """Two ways of naming on the same features: the paired difference, its interval, every feature."""
        told = self._service.evaluations.comparison(evaluation, a, b, metric=measure)
        return _compared(told, most_rows=most_rows)

    def _feature(self, feature: str) -> FeatureAnswer:
        dictionary, index = split_feature(feature)
        row = self._service.features.row(dictionary, index)
        told = self._service.features.latest(dictionary, index)
        if told is not None:
            return FeatureAnswer.of(told)
        return FeatureAnswer(
            feature=feature, uri=feature_uri(dictionary, index), answered=False, density=row.density
        )

    def _thumbnail(self, uri: str) -> ImageContent:
        sha = uri.rpartition("/")[2]
        data = base64.b64encode(self._service.pictures.thumbnail(sha, THUMBNAIL)).decode()
        return ImageContent(type="image", data=data, mime_type="image/webp")

    def _picture(self, image: str) -> bytes:
        if image.startswith("namesae://image/"):
            return self._service.pictures.png(image.removeprefix("namesae://image/"))
        return decoded(image)


def split_feature(feature: str) -> tuple[str, int]:
    """Dictionary and index of DICTIONARY#INDEX, whose form the schema has checked."""
    dictionary, _, index = feature.rpartition("#")
    return dictionary, int(index)


def decoded(image: str) -> bytes:
    """The bytes of a picture sent as base64, bare or as a data: URL; UsageError for anything else."""
    head, mark, rest = image.partition(",")
    if mark and not (head.startswith("data:image/") and head.endswith(";base64")):
        raise UsageError(
            "The image is no data: URL of a picture; send data:image/png;base64,... or bare base64."
        )
    try:
        data = base64.b64decode("".join((rest if mark else image).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(
            "The image is not base64; send the bytes of a PNG, JPEG or WEBP as base64."
        ) from error
    if len(data) > MOST_IMAGE:
        raise UsageError(f"The image has {len(data):,} bytes; at most {MOST_IMAGE:,} are taken.")
    return data


def _compared(told: Comparison, *, most_rows: int) -> ComparedMethods:
    rows = sorted(told.rows, key=lambda row: -abs(row.difference or 0.0))
    estimate = told.difference.estimate
    interval = None
    if estimate.low is not None and estimate.high is not None:
        interval = Interval(low=estimate.low, high=estimate.high)
    return ComparedMethods(
        id=told.id,
        uri=eval_uri(told.id),
        a=told.a,
        b=told.b,
        measure=told.measure,
        difference=estimate.value,
        difference_ci=interval,
        p=told.difference.p,
        features=estimate.n,
        better=told.better,
        worse=told.worse,
        equal=told.equal,
        rows=tuple(_compared_feature(row) for row in rows[:most_rows]),
        left_out=max(0, len(rows) - most_rows),
    )


def _compared_feature(row: PairedRow) -> ComparedFeature:
    return ComparedFeature(
        feature=str(row.feature),
        uri=feature_uri(row.feature.dictionary, row.feature.index),
        truth=row.truth,
        a_name=row.a.name,
        b_name=row.b.name,
        a_value=row.a.value,
        b_value=row.b.value,
        difference=row.difference,
        a_run_uri=run_uri(row.a.run) if row.a.run else None,
        b_run_uri=run_uri(row.b.run) if row.b.run else None,
    )
