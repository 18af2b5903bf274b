"""One line of text for each thing a batch tells. Pure functions; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from namesae.lines import GAP, percent, plain

if TYPE_CHECKING:
    from agent.collisions import CollidingPair, Collision
    from agent.survey import SurveyOutcome
    from namesae.batch_records import BatchLaunch, BatchProgress, BatchSummary, Spread

FAILURES, COLLISIONS = 10, 20
"""Lines of each that are shown; --json has them all."""


def batch_launch_line(launch: BatchLaunch) -> str:
    """What is about to be done, and how it can be continued."""
    limits = launch.limits
    price = f", at most ${limits.usd:.2f}" if launch.paid and limits.usd is not None else ""
    done = f"; {launch.done:,} have a verdict already" if launch.done else ""
    return plain(
        f"Batch {launch.batch}: {launch.features:,} features with the {launch.proposer} proposer, up to "
        f"{limits.images} search and {limits.sealed} sealed images{price} each, seed {launch.seed}{done}."
    )


def survey_line(survey: SurveyOutcome) -> str:
    """What the survey drew."""
    if not survey.prompts:
        return "No survey."
    return (
        f"Survey: {survey.prompts:,} prompts, {survey.images:,} images, {survey.charged:,} of them charged "
        "(what the bank held is not)."
    )


def progress_line(progress: BatchProgress) -> str:
    """How far it is."""
    parts = [
        f"{progress.done:,} of {progress.total:,}",
        f"{progress.named:,} named",
        f"{progress.abstained:,} abstained",
    ]
    if progress.images is not None:
        parts.append(f"{progress.images:.1f} search images a feature")
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """3 h 5 min, 12 min or 40 s."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes >= 2 else f"{seconds:.0f} s"


def summary_lines(summary: BatchSummary) -> Iterator[str]:
    """The table of the end: verdicts, cost, survey, failures, names that several features share."""
    yield f"{summary.done:,} of {summary.asked:,} features have a verdict:"
    for verdict, count in sorted(summary.verdicts.items(), key=lambda each: (-each[1], each[0])):
        yield f"  {verdict:<13}{count:>7,}{GAP}{percent(count / summary.asked)}"
    for text, spread in (("search images", summary.search), ("sealed images", summary.sealed)):
        if spread is not None:
            yield f"  {text:<14}{_spread(spread)}"
    if summary.usd is not None and summary.usd.total:
        yield f"  dollars       mean {summary.usd.mean:.4f}, median {summary.usd.median:.4f} a feature"
    if summary.survey_share is not None and summary.survey is not None and summary.survey.charged:
        yield (
            f"  survey        {summary.survey.charged:,} images, {percent(summary.survey_share)} of all "
            "search images, shared equally"
        )
    yield from _left(summary)
    yield from _shared(summary)


def _spread(spread: Spread) -> str:
    return f"mean {spread.mean:.1f}, median {spread.median:.1f} a feature; {spread.total:,.0f} together"


def _left(summary: BatchSummary) -> Iterator[str]:
    for count, what in (
        (len(summary.failures), "failed; the same command tries them again"),
        (summary.unasked, "were left without a run by a limit of the batch"),
        (summary.waiting, "wait for a review; see namesae review --list"),
    ):
        if count:
            yield f"  {count:,} {what}"
    for each in summary.failures[:FAILURES]:
        yield plain(f"    {each.feature}: {each.why}")


def _shared(summary: BatchSummary) -> Iterator[str]:
    if not summary.collisions:
        return
    yield f"Names given to several features: {len(summary.collisions):,}"
    for each in summary.collisions[:COLLISIONS]:
        yield collision_line(each)


def collision_line(each: Collision) -> str:
    """A shared name, its features, and how the first two of them differ."""
    told = ", ".join(f"#{index}" for index in each.features[:8])
    more = f" and {len(each.features) - 8} more" if len(each.features) > 8 else ""
    return plain(f"  {each.name}: {told}{more}{GAP}{_pair(each.pairs[0])}")


def _pair(pair: CollidingPair) -> str:
    parts = [] if pair.cosine is None else [f"cosine {pair.cosine:.2f}"]
    for one, other, share in (
        (pair.first, pair.second, pair.first_on_second),
        (pair.second, pair.first, pair.second_on_first),
    ):
        if share is not None:
            parts.append(f"#{one} fires on {percent(share)} of #{other}'s race images")
    return ", ".join(parts)
