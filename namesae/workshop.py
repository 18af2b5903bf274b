"""Hands dictionaries to evaluations: implements the protocols of evals/subject.py with the real models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from agent.lexical import LexicalProposer
from agent.lexicon import Lexicon, WordBook, lexicon_for, widened
from agent.proposer import Proposer
from agent.runs import Desk
from agent.toolbox import Toolbox
from evals.labelled_scenes import SOURCE, held_out_scenes, probe_scenes
from evals.subject import Captioner, Chat, JointSpace, LabelledImages, Truth
from evals.suite import Words
from namesae.built_dictionaries import UNTRAINED, find_or_build, twin_of
from namesae.dictionaries import TRUTH_FILE, Listed, read_truth
from namesae.galleries import Gallery
from namesae.models import Say
from namesae.selection import choose_features, parse_selection
from namesae.settings import Settings
from namesae.wiring import State, Workbench, quiet
from sae.feature import Feature
from sae.model_folder import source_and_revision
from tools.digest import digest
from tools.protocols import Floats, KnowsControl


class WiredSubject:
    """A dictionary on its workbench; implements evals.subject.Subject. Models are opened when first used."""

    def __init__(self, workshop: RealWorkshop, listed: Listed) -> None:
        self._workshop, self._listed = workshop, listed
        self._bench = Workbench(workshop.settings, workshop.state, listed=listed, say=workshop.say)
        self.dictionary, self.n_features = listed.name, listed.n_features

    @cached_property
    def fingerprint(self) -> str:
        """Of all models, and of the control set that only judges see."""
        chosen = self._workshop.settings.captioner
        extra = {} if chosen is None else {"captioner": chosen}
        return digest(models=self._bench.models.fingerprint, judge=self.judge_control.fingerprint, **extra)

    @cached_property
    def lexicon(self) -> WordBook:
        models = self._bench.models
        return lexicon_for(models.draw.card, models.lexicon)

    @cached_property
    def search_lexicon(self) -> Lexicon:
        """The generator's words, and the English ones where the workshop says so."""
        if self._workshop.words == "generator":
            return self.lexicon
        return widened(self.lexicon, self._bench.models.draw.card)

    @cached_property
    def proposer(self) -> Proposer:
        """The one of the settings; a lexical one searches over the workshop's words."""
        chosen = self._bench.proposer
        if self._workshop.words == "generator" or chosen.name != LexicalProposer.name:
            return chosen
        return LexicalProposer(self.search_lexicon)

    @cached_property
    def chat(self) -> Chat | None:
        """The LLM behind the proposer, where it has one; its replies are recorded."""
        from agent.ledgered_chat import LedgeredChat
        from tools.ledger import Ledger

        chat = getattr(self.proposer, "chat", None)
        return None if chat is None else LedgeredChat(chat, Ledger(self._workshop.state.client))

    @cached_property
    def desk(self) -> Desk:
        return self._bench.desk()

    @cached_property
    def truth(self) -> Mapping[int, Truth]:
        """The dictionary's truth table; empty where it has none."""
        folder = self._listed.folder
        if folder is not None and not (folder / TRUTH_FILE).is_file():
            return {}
        rows = read_truth(self._listed)
        return {row.index: Truth(concept=row.concept, kind=row.kind, f1=row.f1) for row in rows}

    @property
    def judge_control(self) -> KnowsControl:
        return self._bench.models.judge_control()

    @cached_property
    def probe(self) -> LabelledImages | None:
        return probe_scenes(self.probe_activations) if self._of_the_sandbox else None

    @cached_property
    def held_out(self) -> LabelledImages | None:
        folder = self._listed.folder
        if folder is None or not self._of_the_sandbox:
            return None
        return held_out_scenes(folder)

    @cached_property
    def joint(self) -> JointSpace | None:
        from namesae.joint_space import open_joint_space

        folder, card = self._listed.folder, self._listed.card
        if folder is None or card is None:
            return None
        return open_joint_space(folder, card, gallery=self._gallery)

    @cached_property
    def captioner(self) -> Captioner | None:
        chosen = self._workshop.settings.captioner
        if chosen is not None:
            from tools.captioning import HubCaptioner

            source, revision = source_and_revision(chosen)
            return HubCaptioner(source, self._bench.shelf.get, revision=revision)
        if not self._of_the_sandbox:
            return None
        from sandbox.captioner import ReaderCaptioner

        return ReaderCaptioner(self._bench.shelf.get)

    @cached_property
    def twin(self) -> WiredSubject | None:
        if self._listed.folder is None or self.dictionary.endswith(UNTRAINED):
            return None
        return self._workshop.subject(twin_of(self._listed, self._workshop.settings))

    def probe_activations(self, index: int) -> Floats:
        """(n,) activations of a feature on the probe pictures."""
        return self._bench.models.exemplars().activations(index)

    def decoder(self) -> Floats:
        """(F, d) decoder directions."""
        from namesae.facts import decoder_of

        assert self._listed.folder is not None
        return decoder_of(self._listed.folder)

    def toolbox(self, run: str) -> Toolbox:
        """The tools of one run."""
        return replace(self._bench.toolbox(run), proposer=self.proposer)

    @property
    def _of_the_sandbox(self) -> bool:
        """Whether its pictures are of the world whose labels are known."""
        chosen, card = self._workshop.settings, self._listed.card
        own = card.probe_set if card is not None else None
        return chosen.probe_images is None and own is not None and own.source == SOURCE

    @cached_property
    def _gallery(self) -> Gallery:
        from namesae.real_models import probe_gallery

        return probe_gallery(self._listed, self._workshop.settings)


class RealWorkshop:
    """All dictionaries there are; implements evals.subject.Workshop."""

    def __init__(
        self, settings: Settings, state: State, *, say: Say = quiet, words: Words = "generator"
    ) -> None:
        self.settings, self.state, self.say, self.words = settings, state, say, words
        self._subjects: dict[str, WiredSubject] = {}

    def subject(self, dictionary: str) -> WiredSubject:
        """A dictionary, built now where it is one that evaluations build."""
        if dictionary not in self._subjects:
            listed = find_or_build(dictionary, self.settings, say=self.say)
            self._subjects[dictionary] = WiredSubject(self, listed)
        return self._subjects[dictionary]

    def choose(self, selection: str, *, sample: int | None, seed: int) -> tuple[Feature, ...]:
        """The features of a selection."""
        chosen = parse_selection(selection)
        listed = find_or_build(chosen.dictionary, self.settings, say=self.say)
        return choose_features(chosen, listed, sample=sample, seed=seed)

    def picture(self, image: str) -> bytes:
        """An image of the store as PNG bytes; KeyError names a missing one."""
        return self.state.images.png(image)
