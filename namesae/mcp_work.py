"""The tools that spend images or money: each asks for a budget, tells its progress, and can be left alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context
from pydantic import Field

from namesae.lines import event_line
from namesae.mcp_records import EvalAnswer, LeaderRow, RunAnswer, eval_uri
from namesae.mcp_tools import FeatureArgument
from namesae.mcp_traces import run_answer
from namesae.service.orders import EvalOrder, NameOrder, ProposerChoice, SafeId
from tools.errors import BudgetError

if TYPE_CHECKING:
    from evals.suite import Group
    from namesae.service.evaluation_records import EvalStatus
    from namesae.service.job_records import RunStatus
    from namesae.service.service import Service
    from namesae.service.tokens import Principal

POLL_S = 0.3
UNTAKEN_S = 1.0
"""How long an order may lie before the worker of one's own is called."""
MOST_WAIT_S = 3600.0
GOING = ("queued", "running")

MaxImages = Annotated[
    int, Field(ge=8, le=100_000, description="Budget: search images it may use; the judge's are beside them.")
]
CostLimit = Annotated[float, Field(ge=0, le=1000, description="Budget: dollars the LLM may cost.")]
WaitS = Annotated[
    float,
    Field(ge=0, le=MOST_WAIT_S, description="Seconds to wait for the end; the work goes on afterwards too."),
]


class Desk(NamedTuple):
    """What work needs beside its arguments."""

    service: Service
    caller: Callable[[Context[Any, Any]], Principal]
    """Who called."""
    awaken: Callable[[], None] | None = None
    """Starts a worker, if none of ours runs yet; None where workers are others' business."""


class WorkingTools:
    """The tools that start work."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def name_feature(
        self,
        feature: FeatureArgument,
        max_images: MaxImages,
        cost_limit: CostLimit,
        ctx: Context[Any, Any],
        proposer: Annotated[
            ProposerChoice | None,
            Field(description="Who has the ideas: an LLM, or a search over words. Null: openai with a key."),
        ] = None,
        seed: Annotated[int, Field(ge=0, lt=2**31)] = 0,
        again: Annotated[bool, Field(description="A new run although there is a stored answer.")] = False,
        wait_s: WaitS = 120.0,
    ) -> RunAnswer:
        """Name a feature: the stored answer to an equal request, else a run that proposes, draws and scores.

        The same call again continues what was interrupted and spends nothing twice. If the run takes longer
        than wait_s the answer says so; get_trace or the run's URI follow it.
        """
        order = NameOrder(
            feature=feature,
            max_images=max_images,
            cost_limit=cost_limit,
            proposer=proposer,
            seed=seed,
            again=again,
        )
        runs, who = self._desk.service.runs, self._desk.caller(ctx).name
        status = await anyio.to_thread.run_sync(lambda: runs.start(order, who=who))
        if not status.stored:
            status = await self._followed(status, ctx, wait_s=wait_s)
        return await anyio.to_thread.run_sync(run_answer, self._desk.service, status)

    async def run_eval(
        self,
        suite: Annotated[SafeId, Field(description="A built-in suite, e.g. sandbox-quick.")],
        max_images: MaxImages,
        cost_limit: CostLimit,
        ctx: Context[Any, Any],
        conditions: Annotated[
            tuple[SafeId, ...], Field(max_length=30, description="Of the suite's; none means all.")
        ] = (),
        proposer: ProposerChoice | None = None,
        id: Annotated[
            SafeId | None,
            Field(description="What to call it; the same id continues. Null: the suite's name."),
        ] = None,
        wait_s: WaitS = 0.0,
    ) -> EvalAnswer:
        """Run a suite of features with known truth, and score each way of naming them.

        A suite's size is fixed: where it may use more than the budget (search and judge), nothing is started.
        """
        order = EvalOrder(suite=suite, conditions=conditions, proposer=proposer, id=id)
        evaluations, who = self._desk.service.evaluations, self._desk.caller(ctx).name
        await anyio.to_thread.run_sync(
            lambda: require_budget(order, self._desk.service, max_images=max_images, cost_limit=cost_limit)
        )
        job = await anyio.to_thread.run_sync(lambda: evaluations.start(order, who=who))
        await self._followed_eval(job.id, ctx, wait_s=wait_s)
        return await anyio.to_thread.run_sync(eval_answer, self._desk.service, job.id)

    async def _followed(self, status: RunStatus, ctx: Context[Any, Any], *, wait_s: float) -> RunStatus:
        """The status when the run stops going on, or the time is up; what happens is told as progress."""
        runs, began, after, told = self._desk.service.runs, time.monotonic(), "0", 0.0
        while True:
            for entry in await anyio.to_thread.run_sync(partial(runs.events, status.run, after=after)):
                after = entry.id
                if entry.event.what.kind != "streamed":
                    # Must grow with every message; most events come with no image of their own.
                    told = max(told + 0.01, float(status.search_images))
                    most = max(told, float(status.limit_images))
                    await ctx.report_progress(told, most, event_line(entry.event))
            status = await anyio.to_thread.run_sync(runs.status, status.run)
            left = wait_s - (time.monotonic() - began)
            await self._woken(status.state, left, waited=wait_s - left)
            if status.state not in GOING or left <= 0:
                return status
            await anyio.sleep(min(POLL_S, left))

    async def _followed_eval(self, evaluation: str, ctx: Context[Any, Any], *, wait_s: float) -> None:
        evaluations, began, told = self._desk.service.evaluations, time.monotonic(), -1
        while True:
            status = await anyio.to_thread.run_sync(evaluations.status, evaluation)
            if status.cells > told:
                told = status.cells
                await ctx.report_progress(told, status.expected or None, f"{told} answers of {evaluation}")
            left = wait_s - (time.monotonic() - began)
            await self._woken(status.state, left, waited=wait_s - left)
            if status.state not in GOING or left <= 0:
                return
            await anyio.sleep(min(POLL_S, left))

    async def _woken(self, state: str, left: float, *, waited: float) -> None:
        """Call our own worker where nobody has taken the order for a while, or nobody will look again."""
        if state == "queued" and self._desk.awaken is not None and (waited >= UNTAKEN_S or left <= 0):
            await anyio.to_thread.run_sync(self._desk.awaken)


class Bound(NamedTuple):
    """What a suite may use at most."""

    cells: int
    images: int
    usd: float


def require_budget(order: EvalOrder, service: Service, *, max_images: int, cost_limit: float) -> None:
    """BudgetError where the evaluation may use more than it was granted; UsageError for an unknown suite."""
    bound = bound_of(order, service)
    if bound.images > max_images:
        raise BudgetError(
            f"Suite {order.suite} may use {bound.images:,} images ({bound.cells:,} answers); max_images is "
            f"{max_images:,}; grant that many, or choose fewer conditions."
        )
    if bound.usd > cost_limit:
        raise BudgetError(
            f"Suite {order.suite} may cost ${bound.usd:.2f} ({bound.cells:,} answers) and cost_limit is "
            f"${cost_limit:.2f}; grant that much, choose fewer conditions, or the lexical proposer."
        )


def bound_of(order: EvalOrder, service: Service) -> Bound:
    """Every condition on every feature of its groups, each at its limits."""
    from evals.conditions import CONDITIONS
    from evals.suite import read_suite
    from tools.errors import UsageError

    if order.suite not in service.evaluations.suites():
        there = ", ".join(service.evaluations.suites())
        raise UsageError(f"Suite {order.suite!r} does not exist; there are {there}.")
    suite = read_suite(order.suite, tuple(CONDITIONS))
    chosen = [each for each in suite.conditions if each in order.conditions or not order.conditions]
    sizes = {group.group: _size(group, service) for group in suite.features}
    cells = sum(sizes[group.group] for each in chosen for group in suite.groups_of(each))
    kind = order.proposer or suite.proposer or service.settings.proposer_kind
    usd = cells * service.settings.cost_limit if kind == "openai" else 0.0
    return Bound(cells, cells * (suite.images + suite.sealed), usd)


def _size(group: Group, service: Service) -> int:
    from namesae.dictionaries import find_dictionary
    from namesae.selection import choose_features, parse_selection

    if group.sample is not None:
        return group.sample
    if group.select is None:
        return len(group.listed)
    selection = parse_selection(group.select)
    return len(choose_features(selection, find_dictionary(selection.dictionary, service.settings)))


def eval_answer(service: Service, evaluation: str) -> EvalAnswer:
    """How an evaluation stands, with its leaderboard once there are answers. NotFound."""
    status = service.evaluations.status(evaluation)
    return EvalAnswer(
        id=status.id,
        uri=eval_uri(status.id),
        suite=status.suite,
        state=status.state,
        cells=status.cells,
        expected=status.expected,
        leaderboard=_leaders(service, status),
        error=status.error,
        next=_NEXT.get(status.state, "Call run_eval with the same arguments to go on."),
    )


_NEXT = {
    "queued": "It waits for a worker; read its URI in a while.",
    "running": "It goes on; read its URI in a while.",
    "ended": "Done; compare_methods sets two conditions side by side.",
}


def _leaders(service: Service, status: EvalStatus) -> tuple[LeaderRow, ...]:
    if not status.cells:
        return ()
    from evals.contenders import in_order

    board = service.evaluations.board(status.id)
    return tuple(
        LeaderRow(
            condition=row.condition,
            title=row.title,
            features=row.features,
            accuracy=row.accuracy,
            named_share=row.named_share,
            auroc=row.auroc,
            images=row.charged,
            usd=row.usd,
        )
        for row in in_order(board, "all")
    )
