"""Dictionaries and their features: list, filter, search, compare, export."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from namesae.service import api_examples as examples
from namesae.service.api_records import (
    ActivationList,
    DictionaryList,
    ExplanationList,
    FeatureDetail,
    HitList,
)
from namesae.service.api_words import (
    ONE_LINE,
    PREFIX,
    AnyDictionary,
    DictionaryName,
    Index,
    Limit,
    Reader,
    Served,
    answers,
    streams,
)
from namesae.service.exporting import FormName
from namesae.service.feature_query import (
    DictionaryRow,
    FeaturePage,
    FeatureQuery,
    Scatter,
    SearchBy,
    SimilarBy,
)

EXPORT_TYPES = ("text/csv", "application/x-ndjson", "application/gzip", "application/json")
router = APIRouter(prefix=PREFIX, tags=["features"])

Count = Annotated[int, Query(ge=1, le=100)]
Text = Annotated[str, Query(alias="q", min_length=1, max_length=200, pattern=ONE_LINE, examples=["striped"])]
Picture = Annotated[UploadFile, File(description="PNG, JPEG or WEBP of at most 20 MB and 50 megapixels.")]


@router.get("/dictionaries", responses=answers(examples.DICTIONARIES))
def list_dictionaries(service: Served, _: Reader) -> DictionaryList:
    """Every dictionary by name; a damaged one says why in `fault`."""
    return DictionaryList(dictionaries=service.features.dictionaries())


@router.get("/dictionaries/{dictionary}", responses=answers(examples.DICTIONARY, 404))
def get_dictionary(dictionary: DictionaryName, service: Served, _: Reader) -> DictionaryRow:
    """One dictionary and how far it is named."""
    return service.features.dictionary(dictionary)


@router.get("/dictionaries/{dictionary}/features", responses=answers(examples.FEATURE_PAGE, 404, 409))
def list_features(
    dictionary: DictionaryName, query: Annotated[FeatureQuery, Query()], service: Served, _: Reader
) -> FeaturePage:
    """Features of a dictionary, filtered and sorted, a page at a time."""
    return service.features.rows(dictionary, query)


@router.get("/dictionaries/{dictionary}/features/{index}", responses=answers(examples.FEATURE, 404, 409))
def get_feature(dictionary: DictionaryName, index: Index, service: Served, _: Reader) -> FeatureDetail:
    """A feature, its latest answer with the evidence, and what is known of it."""
    features = service.features
    row = features.row(dictionary, index)
    return FeatureDetail(
        row=row, facts=features.facts(dictionary, index), explanation=features.latest(dictionary, index)
    )


@router.get(
    "/dictionaries/{dictionary}/features/{index}/history", responses=answers(examples.HISTORY, 404, 409)
)
def list_explanations(
    dictionary: DictionaryName, index: Index, service: Served, _: Reader, limit: Count = 10
) -> ExplanationList:
    """Its answers, failed ones too, latest first."""
    return ExplanationList(explanations=service.features.history(dictionary, index, count=limit))


@router.get("/dictionaries/{dictionary}/features/{index}/similar", responses=answers(examples.HITS, 404, 409))
def similar_features(
    dictionary: DictionaryName,
    index: Index,
    service: Served,
    _: Reader,
    by: SimilarBy = "decoder",
    limit: Count = 12,
) -> HitList:
    """Other features of the dictionary, nearest first."""
    return HitList(hits=service.features.similar(dictionary, index, by=by, limit=limit))


@router.get("/dictionaries/{dictionary}/scatter", responses=answers(examples.SCATTER, 404, 409))
def get_scatter(dictionary: DictionaryName, service: Served, _: Reader) -> Scatter:
    """Density against activation scale, 5,000 features at most."""
    return service.features.scatter(dictionary)


@router.post(
    "/dictionaries/{dictionary}/top-features", responses=answers(examples.ACTIVATIONS, 404, 409, 413)
)
async def top_features(
    dictionary: DictionaryName, image: Picture, service: Served, _: Reader, limit: Count = 20
) -> ActivationList:
    """The features most active on an uploaded image. Runs the backbone."""
    data = await image.read()
    found = await run_in_threadpool(service.features.top_features, data, dictionary=dictionary, limit=limit)
    return ActivationList(activations=found)


@router.get(
    "/dictionaries/{dictionary}/export",
    response_class=StreamingResponse,
    responses=streams(EXPORT_TYPES, 404, 409),
)
def export_features(
    dictionary: DictionaryName,
    service: Served,
    _: Reader,
    form: Annotated[FormName, Query(alias="format", description="What to write.")] = "csv",
) -> StreamingResponse:
    """The features that have a verdict, as a file that is written while it is sent."""
    chosen = service.exporting.form(form)
    name = service.exporting.file_name(dictionary, form)
    parts = service.exporting.stream(dictionary, form)
    return StreamingResponse(parts, media_type=chosen.media_type, headers=attachment(name))


@router.get("/search", responses=answers(examples.HITS, 404, 409))
def search_features(
    text: Text,
    service: Served,
    _: Reader,
    dictionary: AnyDictionary = None,
    by: SearchBy = "name",
    limit: Limit = 50,
) -> HitList:
    """Named features by their name, or by the meaning of a text, best first."""
    return HitList(hits=service.features.search(text, dictionary=dictionary, by=by, limit=limit))


def attachment(name: str) -> dict[str, str]:
    """The header that makes a browser save the answer under a name."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
