"""What can be done to a feature, as typed boundaries. Each has a shipped fake in tools/fakes.py.

Images travel as sha256 of their PNG bytes; bytes live in the image store.
Every tool has a ``fingerprint``: the hash of everything that determines its output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sae.feature import Exemplar, Frozen

if TYPE_CHECKING:
    from PIL import Image

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class StoresImages(Protocol):
    """Images by the sha256 of their PNG bytes (tools/image_store.py is the durable one)."""

    def put(self, image: Image.Image) -> str:
        """Store a picture and return its id; storing the same pixels again returns the same id."""
        ...

    def put_many(self, images: Sequence[Image.Image]) -> list[str]:
        """Store pictures and return their ids, in order; cheaper than one at a time."""
        ...

    def get(self, image: str) -> Image.Image:
        """The picture with this id. KeyError names a missing one."""
        ...


class DrawRequest(Frozen):
    """One image to draw: the image prompt and the seed of its noise."""

    prompt: str
    seed: int


class DrawnImage(Frozen):
    """The outcome of a DrawRequest. ``image`` is None when the picture is unusable (see ``fault``)."""

    request: DrawRequest
    image: str | None
    fault: str | None = None
    """None, 'black' or 'filtered': reported, never scored."""
    bucket: int | None = None
    """How many images were drawn in one go, where that can change the last bit; None where it cannot."""


class GeneratorCard(Frozen):
    """What a generator draws, shown to every proposer."""

    generator: str
    """Id, e.g. 'sandbox-sd' or 'stabilityai/sd-turbo'."""
    draws: str
    """One or two sentences: what its pictures show."""
    vocabulary: tuple[str, ...] | None = None
    """Every word it knows when the vocabulary is closed; None when open."""
    size: int = 512
    """Side of its square images, pixels."""
    search_template: str = "{}"
    """Template a name is put into while searching, e.g. 'a picture of {}'."""
    judge_template: str = "a photo of {}"
    """Template only the sealed judge uses."""


class DrawImages(Protocol):
    """Text to images. Bit-equal for the same request whatever the batch-mates."""

    @property
    def card(self) -> GeneratorCard: ...
    @property
    def fingerprint(self) -> str: ...
    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """One DrawnImage per request, in order. ToolError on a word outside a closed vocabulary."""
        ...


class SparseCode(NamedTuple):
    """Non-zero activations of one image over all features of a dictionary."""

    indices: Ints
    """(k,) feature indices, ascending."""
    values: Floats
    """(k,) activations, > 0 unless the dictionary allows negative ones."""

    def activation(self, index: int) -> float:
        """The activation of one feature: 0.0 where the code holds none."""
        at = int(np.searchsorted(self.indices, index))
        found = at < len(self.indices) and int(self.indices[at]) == index
        return float(self.values[at]) if found else 0.0


class ScoreImages(Protocol):
    """Images to activations: a backbone at a hook point, then a dictionary, then pooling."""

    @property
    def dictionary(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    def __call__(self, images: Sequence[str]) -> list[SparseCode]:
        """One SparseCode per image id, in order, pooled over tokens. KeyError names a missing image."""
        ...


ReadingKind = Literal["one", "and", "or", "not"]


class Reading(Frozen):
    """A word, or an AND, OR or NOT of words, and how well it tells what a feature does on the probe set, as
    an image-text model reads its pictures."""

    kind: ReadingKind
    words: tuple[str, ...]
    f1: float
    """At the best cut."""
    cut: float
    """Activation above which the feature counts as on for that F1."""


class FeatureFacts(Frozen):
    """What is known of a feature before any search, from the probe set and the weights."""

    density: float
    """Share of probe images on which the feature is non-zero."""
    threshold: float
    """Firing threshold: half the 99th percentile of its non-zero probe activations; 0 only if dead."""
    p99: float
    """99th percentile of its non-zero probe activations: the unit of graded rewards."""
    neighbours: tuple[int, ...] = ()
    """Nearest features by decoder cosine, nearest first."""
    vocabulary: tuple[tuple[str, float], ...] = ()
    """(word, cosine) nearest the decoder direction, multimodal backbones only, best first."""
    tags: tuple[tuple[str, float], ...] = ()
    """(word, lift) that an image-text model sees in the exemplars more than in the probe set, best first."""
    readings: tuple[Reading, ...] = ()
    """Words and formulas of words that tell its activations best, best first; none without such a model."""


class FindExemplars(Protocol):
    """The probe set, searched for one feature."""

    @property
    def fingerprint(self) -> str: ...
    def facts(self, index: int) -> FeatureFacts: ...
    def __call__(self, index: int, *, count: int, low: float = 0.0, high: float = 1.0) -> list[Exemplar]:
        """``count`` probe images inside a quantile band of the non-zero activations, highest first."""
        ...


class Interval(Frozen):
    """A confidence interval, 95 % unless said otherwise."""

    low: float
    high: float


class CosyScore(Frozen):
    """CoSy on images the search never saw (arXiv 2405.20331), with intervals and the ceiling."""

    auroc: float
    auroc_ci: Interval
    ceiling: float | None
    """1 - pi/2 where the share pi of control images that show the concept is known, else None."""
    mad: float | None
    """(mean A1 - mean A0) / std(A0, ddof 1); None when that std is 0."""
    max_mad: float | None
    """(mean A1 - mean A0) / max A0; None when that max is 0."""
    activation_rate: float
    activation_rate_ci: Interval
    control_rate: float
    control_rate_ci: Interval
    n_generated: int
    n_control: int


class ScoreExplanation(Protocol):
    """Pure arithmetic: generated and control activations of one feature to a CosyScore."""

    def __call__(
        self,
        generated: Floats,
        control: Floats,
        *,
        threshold: float,
        share: float | None = None,
        seed: int = 0,
    ) -> CosyScore: ...


@runtime_checkable
class KnowsControl(Protocol):
    """The fixed control set: image ids, and where labels exist the share that shows a concept."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def images(self) -> tuple[str, ...]:
        """At least 1,000 image ids, fixed and seeded."""
        ...

    def share(self, name: str) -> float | None:
        """Share of the control images that show what ``name`` says; None where no labels are known."""
        ...


@runtime_checkable
class Witness(Protocol):
    """Says how far pictures show texts. Its model is neither the explained backbone nor its dictionary."""

    @property
    def fingerprint(self) -> str: ...
    def __call__(self, images: Sequence[str], texts: Sequence[str]) -> Floats:
        """(n, len(texts)) presence of each text in each image: higher is more, comparable only within a text.

        KeyError names a missing image.
        """
        ...
