"""Examples in the OpenAPI description: one feature, one run, one batch."""

from __future__ import annotations

from agent.events import Ended, Event
from agent.feature_rows import FeatureRow
from agent.records import Cost, Explanation, ImageCount
from namesae import __version__
from namesae.batch_records import BatchRow
from namesae.service import api_records as records
from namesae.service.batches import BatchStatus
from namesae.service.evaluation_records import EvalStatus
from namesae.service.feature_query import (
    DictionaryRow,
    FeatureActivation,
    FeaturePage,
    GridRow,
    Hit,
    Scatter,
    ScatterPoint,
    VerdictCount,
)
from namesae.service.job_records import RunStatus
from namesae.service.review_records import Disagreement, Pair, Tally, ToldName, Vote
from namesae.service.tokens import TokenRow
from namesae.traces import Trace
from sae.feature import Exemplar, Feature
from tools.protocols import CosyScore, FeatureFacts, Interval

SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
RUN_ID = "sandbox-17-0f3c5a7be1d2-0"
WHEN, AT = "2026-11-21T10:00:00+00:00", 1_795_255_200.0
INTERVAL = Interval(low=0.87, high=0.94)

DICTIONARY = DictionaryRow(
    name="sandbox",
    n_features=512,
    origin="shipped",
    architecture="topk",
    backbone="open_clip sandbox-clip",
    hook_point="pooled",
    named=88,
    answered=97,
    verdicts=(VerdictCount(verdict="named", count=88), VerdictCount(verdict="weak", count=9)),
    coverage=0.19,
    meaning=True,
    decoder=True,
)
DICTIONARIES = records.DictionaryList(dictionaries=(DICTIONARY,))
ANSWER = FeatureRow(
    index=17,
    name="striped",
    verdict="named",
    confidence=0.93,
    auroc=0.91,
    auroc_ci=INTERVAL,
    ceiling=0.92,
    rate=0.88,
    density=0.031,
    icon=SHA,
    search_images=24,
    usd=0.0012,
    proposer="openai:gpt-5-mini",
    run=RUN_ID,
    created=WHEN,
)
ROW = GridRow(index=17, density=0.031, scale=4.2, answer=ANSWER)
FEATURE_PAGE = FeaturePage(rows=(ROW,), total=1, next=None)
FACTS = FeatureFacts(density=0.031, threshold=2.1, p99=4.2, neighbours=(4, 9))
EXPLANATION = Explanation(
    feature=Feature(dictionary="sandbox", index=17),
    name="striped",
    verdict="named",
    confidence=0.93,
    sealed=CosyScore(
        auroc=0.91,
        auroc_ci=INTERVAL,
        ceiling=0.92,
        mad=2.4,
        max_mad=0.6,
        activation_rate=0.88,
        activation_rate_ci=Interval(low=0.76, high=0.94),
        control_rate=0.09,
        control_rate_ci=Interval(low=0.07, high=0.11),
        n_generated=50,
        n_control=1000,
    ),
    images=ImageCount(search=24, sealed=50, charged=74, drawn=70),
    cost=Cost(llm_calls=2, prompt_tokens=900, completion_tokens=120, usd=0.0012, seconds=4.5),
    proposer="openai:gpt-5-mini",
    run=RUN_ID,
    created=WHEN,
)
FEATURE = records.FeatureDetail(row=ROW, facts=FACTS, explanation=EXPLANATION)
HISTORY = records.ExplanationList(explanations=(EXPLANATION,))
HITS = records.HitList(hits=(Hit(dictionary="sandbox", row=ROW, score=1.0),))
SCATTER = Scatter(points=(ScatterPoint(index=17, density=0.031, scale=4.2, verdict="named"),), total=512)
ACTIVATIONS = records.ActivationList(
    activations=(FeatureActivation(activation=5.1, relative=1.2, fires=True, row=ROW),)
)
RUN = RunStatus(
    run=RUN_ID,
    feature="sandbox#17",
    state="running",
    proposer="openai:gpt-5-mini",
    seed=0,
    started=AT,
    node="score",
    round=1,
    search_images=24,
    limit_images=100,
    usd=0.0012,
    tokens=1020,
    last_event="1795255203000-0",
)
RUNS = records.RunPage(runs=(RUN,), next=None)
EVENT = Event(
    run=RUN_ID, at=AT + 5, node="record", what=Ended(name="striped", verdict="named", confidence=0.93)
)
EVENTS = records.EventPage(
    events=(records.EventEntry(id="1795255205000-0", event=EVENT),), next="1795255205000-0"
)
TRACE = Trace(run=RUN_ID, explanation=EXPLANATION, events=(EVENT,))
BATCH = BatchStatus(
    id="b-3f2a91c07d5e",
    selection="sandbox#0-99",
    state="running",
    asked=100,
    done=41,
    verdicts={"named": 38, "weak": 3},
    search=1024,
    usd=0.05,
    seconds_left=210.0,
    started=AT,
)
BATCHES = records.BatchList(batches=(BATCH,))
BATCH_ROWS = records.BatchRowPage(
    rows=(
        BatchRow(
            index=17,
            run=RUN_ID,
            name="striped",
            verdict="named",
            search=24,
            sealed=50,
            usd=0.0012,
            seconds=4.5,
        ),
    ),
    next=None,
)
EVAL = EvalStatus(
    id="sandbox-quick",
    suite="sandbox-quick",
    state="running",
    proposer="lexical",
    conditions=("ours", "clip-dissect"),
    features=24,
    cells=30,
    expected=48,
    changed=AT,
    who="notebook",
)
EVALS = records.EvalList(evals=(EVAL,), suites=("sandbox-quick",))
EVAL_ACCEPTED = records.EvalAccepted(id="sandbox-quick", state="queued")
QUESTIONS = records.QuestionList(questions=())
TOLD = ToldName(name="striped", by="lexical", source="run", run=RUN_ID, verdict="named", auroc=0.91)
DISAGREEMENTS = records.DisagreementList(
    disagreements=(
        Disagreement(
            feature="sandbox#17",
            index=17,
            names=(TOLD, TOLD.model_copy(update={"name": "zebra", "by": "clip-dissect"})),
            answers=2,
            contested=0.5,
        ),
    )
)
NEXT_PAIR = records.NextPair(
    pair=Pair(
        id="5d0c7b1e",
        feature="sandbox#17",
        a="striped",
        b="zebra",
        exemplars=(Exemplar(image=SHA, activation=5.1),),
        threshold=2.1,
        left=12,
    )
)
VOTE = Vote(
    feature="sandbox#17", pair="5d0c7b1e", a="striped", b="zebra", choice="a", who="notebook", at=WHEN
)
VOTES = records.VoteList(votes=(VOTE,), tallies=(Tally(by="lexical", won=1, lost=0, tied=0),))
TOKEN = TokenRow(name="notebook", scope="run", created=AT, expires=None)
TOKENS = records.TokenList(tokens=(TOKEN,))
NEW_TOKEN = records.NewToken(token=TOKEN, secret="namesae_…")
ME = records.WhoAmI(name="notebook", scope="run")
HEALTH = records.Health(status="alive", version=__version__)
READY = records.Health(status="ready", version=__version__)
