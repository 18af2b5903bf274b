"""What an evaluation consists of: its features with their groups, its conditions, and what cannot be run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evals import llm_suggester
from evals.cell import SCHEMA
from evals.condition import Condition
from evals.conditions import make_condition
from evals.results import Expected, ListedCondition, RunRecord
from evals.seed_classes import inside_seeds
from evals.subject import Subject, Truth, Workshop
from evals.suite import FILE, Group, Suite
from sae.feature import Feature
from tools.digest import digest
from tools.errors import UsageError


class Entry(NamedTuple):
    """A feature of the suite."""

    feature: Feature
    groups: tuple[str, ...]
    """The groups it was chosen for, in the suite's order."""
    truth: Truth | None
    outside_seeds: bool | None


class Job(NamedTuple):
    """A cell to be filled."""

    condition: str
    entry: Entry


class Plan(NamedTuple):
    """An evaluation, ready to run."""

    suite: Suite
    conditions: Mapping[str, Condition]
    entries: tuple[Entry, ...]
    jobs: tuple[Job, ...]
    """All cells: feature by feature, those that read other cells' answers last."""
    now: frozenset[str]
    """The conditions whose cells are to be filled now."""
    missing: tuple[str, ...]

    @property
    def jobs_now(self) -> tuple[Job, ...]:
        """The cells to be filled now, if they are not there."""
        return tuple(job for job in self.jobs if job.condition in self.now)

    def features(self, dictionary: str) -> tuple[Feature, ...]:
        """The features of one dictionary."""
        return tuple(each.feature for each in self.entries if each.feature.dictionary == dictionary)


def plan_evaluation(suite: Suite, workshop: Workshop, *, only: Sequence[str] | None = None) -> Plan:
    """Choose the features and make the conditions. UsageError in one sentence for whatever is wrong.

    ``only``: conditions to run now, of those the suite lists.
    """
    conditions = {
        name: make_condition(name, suite.options.get(name), beside=suite.beside) for name in suite.conditions
    }
    now = _wanted(suite, only)
    entries = _entries(suite, workshop)
    missing: list[str] = []
    jobs: list[Job] = []
    for name in conditions:
        mine = [entry for entry in entries if _belongs(suite, name, entry=entry)]
        for dictionary in dict.fromkeys(entry.feature.dictionary for entry in mine):
            lack = conditions[name].lacks(workshop.subject(dictionary))
            if lack is None:
                jobs += [Job(name, entry) for entry in mine if entry.feature.dictionary == dictionary]
            else:
                missing.append(f"{conditions[name].title} was not run on {dictionary}: it lacks {lack}.")
    ordered = _ordered(jobs, entries, conditions=conditions)
    return Plan(suite, conditions, entries, jobs=ordered, now=now, missing=tuple(missing))


def record_of(plan: Plan, workshop: Workshop, *, version: str) -> RunRecord:
    """What run.json says of a plan."""
    used = dict.fromkeys(entry.feature.dictionary for entry in plan.entries)
    subjects = {name: workshop.subject(name) for name in used}
    first = next(iter(subjects.values()))
    return RunRecord(
        digest=_digest(plan, subjects, version=version),
        version=version,
        suite=plan.suite,
        proposer=first.proposer.name,
        control=len(first.judge_control.images),
        expected=tuple(Expected(condition=job.condition, feature=job.entry.feature) for job in plan.jobs),
        conditions=tuple(_listed(plan, name, subjects=subjects) for name in plan.conditions),
        missing=plan.missing,
    )


def _digest(plan: Plan, subjects: Mapping[str, Subject], *, version: str) -> str:
    """Of what determines every cell: a suite may gain conditions and keep its results."""
    suite = plan.suite
    return digest(
        schema=SCHEMA,
        version=version,
        limits=[suite.seed, suite.images, suite.sealed, suite.sentence_model],
        entries=[
            [str(entry.feature), *entry.groups, entry.truth and entry.truth.model_dump(mode="json")]
            for entry in plan.entries
        ],
        models={name: subject.fingerprint for name, subject in subjects.items()},
        proposer=[subject.proposer.fingerprint for subject in subjects.values()],
        suggester=llm_suggester.fingerprint(),
        **({} if suite.words == "generator" else {"words": suite.words}),
    )


def _listed(plan: Plan, name: str, *, subjects: Mapping[str, Subject]) -> ListedCondition:
    """A condition with the digest of its kind, its options, the file it reads and the models it names."""
    condition = plan.conditions[name]
    used = dict.fromkeys(job.entry.feature.dictionary for job in plan.jobs if job.condition == name)
    told = digest(
        kind=type(condition).__name__,
        options=condition.model_dump(mode="json", exclude={"path"}),
        reads=_content(plan.suite.beside(name.removeprefix(FILE))) if name.startswith(FILE) else None,
        models=[condition.subject(subjects[each]).fingerprint for each in used],
    )
    return ListedCondition(condition=name, title=condition.title, digest=told)


def _wanted(suite: Suite, only: Sequence[str] | None) -> frozenset[str]:
    if only is None:
        return frozenset(suite.conditions)
    unlisted = [name for name in only if name not in suite.conditions]
    if unlisted or not only:
        asked = f"no condition {unlisted[0]!r}" if unlisted else "to be given conditions"
        raise UsageError(f"Suite {suite.name} has {asked}; it lists {', '.join(suite.conditions)}.")
    return frozenset(only)


def _entries(suite: Suite, workshop: Workshop) -> tuple[Entry, ...]:
    groups: dict[Feature, list[str]] = {}
    told: dict[Feature, Truth] = {}
    for group in suite.features:
        for feature, truth in _chosen(suite, group, workshop=workshop):
            groups.setdefault(feature, []).append(group.group)
            if truth is not None:
                told[feature] = truth
    entries = []
    for feature, names in groups.items():
        subject = workshop.subject(feature.dictionary)
        if feature.index >= subject.n_features:
            last = subject.n_features - 1
            raise UsageError(f"Feature {feature} does not exist; the last of {feature.dictionary} is {last}.")
        truth = told.get(feature) or subject.truth.get(feature.index)
        entries.append(Entry(feature, tuple(names), truth, _outside(subject, truth)))
    if not entries:
        raise UsageError(f"Suite {suite.name} has no features; give it a group that has some.")
    return tuple(entries)


def _chosen(suite: Suite, group: Group, *, workshop: Workshop) -> list[tuple[Feature, Truth | None]]:
    if group.select is not None:
        chosen = workshop.choose(group.select, sample=group.sample, seed=suite.seed)
        return [(feature, None) for feature in chosen]
    return [
        (
            each.feature,
            None if each.concept is None else Truth(concept=each.concept, kind=each.kind or "given"),
        )
        for each in group.chosen(suite.seed)
    ]


def _outside(subject: Subject, truth: Truth | None) -> bool | None:
    if truth is None or not truth.concept:
        return None
    return not inside_seeds(truth.concept, subject.lexicon)


def _belongs(suite: Suite, condition: str, *, entry: Entry) -> bool:
    return any(group.group in entry.groups for group in suite.groups_of(condition))


def _ordered(
    jobs: Sequence[Job], entries: Sequence[Entry], *, conditions: Mapping[str, Condition]
) -> tuple[Job, ...]:
    place = {entry.feature: at for at, entry in enumerate(entries)}
    return tuple(
        sorted(jobs, key=lambda job: (bool(conditions[job.condition].needs), place[job.entry.feature]))
    )


def _content(path: Path) -> str:
    """Sum of a file, or of all files of a folder with their names."""
    if not path.exists():
        raise UsageError(f"Explanations {path} do not exist; correct the condition file:{path}.")
    inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    told = hashlib.sha256()
    for each in inside:
        told.update(f"{each.name}\0".encode() + hashlib.sha256(each.read_bytes()).digest())
    return told.hexdigest()
