"""Fake pictures: 16x16 pixels that say which words are shown and with which seed."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from tools.cards import require_known, words_of
from tools.digest import digest
from tools.errors import ToolError, UsageError
from tools.image_store import png_of
from tools.protocols import DrawnImage, DrawRequest, GeneratorCard, StoresImages

Fault = Literal["black", "filtered"]

FAKE_FAMILIES: dict[str, tuple[str, ...]] = {
    "animal": ("fish", "bird", "cat", "horse"),
    "vehicle": ("car", "boat", "train"),
}
FAKE_VOCABULARY: tuple[str, ...] = (
    *(word for members in FAKE_FAMILIES.values() for word in members),
    *FAKE_FAMILIES,
    *("tree", "flower", "house", "ball"),
    *("red", "green", "blue", "yellow", "black", "white"),
    *("striped", "dotted", "checked"),
    *("water", "forest", "sky", "sand"),
)

_SIDE = 16
_HEADER = 5
_MOST_WORDS = _SIDE * _SIDE - _HEADER


class MemoryImageStore:
    """Images in a dict, keyed as the durable store keys them."""

    def __init__(self) -> None:
        self._png: dict[str, bytes] = {}

    def put(self, image: Image.Image) -> str:
        """Store the PNG of a picture as RGB without its metadata."""
        return self.put_png(png_of(image))

    def put_many(self, images: Sequence[Image.Image]) -> list[str]:
        """Store pictures and return their ids, in order."""
        return [self.put(image) for image in images]

    def put_png(self, data: bytes) -> str:
        """Store PNG bytes as they are."""
        name = hashlib.sha256(data).hexdigest()
        self._png[name] = data
        return name

    def get(self, image: str) -> Image.Image:
        """The picture, decoded; KeyError names a missing one."""
        with Image.open(io.BytesIO(self._png[image])) as opened:
            opened.load()
            return opened

    def png(self, image: str) -> bytes:
        """The PNG bytes; KeyError names a missing image."""
        return self._png[image]

    def has(self, image: str) -> bool:
        """Whether the picture is here."""
        return image in self._png

    def __len__(self) -> int:
        return len(self._png)


class Shown(NamedTuple):
    """What the pixels of a fake image say."""

    words: frozenset[int]
    noise_seed: tuple[int, int]
    """Seed and prompt hash: the noise of two images with equal words differs."""


def word_code(word: str) -> int:
    """The 24 bits that stand for a word in a pixel."""
    return zlib.crc32(word.casefold().encode()) & 0xFFFFFF


def paint(words: Iterable[str], *, prompt: str, seed: int) -> Image.Image:
    """The picture of some words: seed, prompt hash, count, then a pixel a word. ToolError above 251 words."""
    header = seed.to_bytes(8, "big") + zlib.crc32(prompt.encode()).to_bytes(4, "big")
    codes = sorted({word_code(word) for word in words})
    if len(codes) > _MOST_WORDS:
        raise ToolError(f"The prompt shows {len(codes)} different words; a fake image holds {_MOST_WORDS}.")
    body = header + len(codes).to_bytes(3, "big") + b"".join(code.to_bytes(3, "big") for code in codes)
    return Image.frombytes("RGB", (_SIDE, _SIDE), body.ljust(_SIDE * _SIDE * 3, b"\x80"))


def read_picture(image: Image.Image) -> Shown:
    """What the pixels say; a picture that is no fake one reads as arbitrary words, never as an error."""
    body = image.convert("RGB").tobytes().ljust(3 * _HEADER, b"\x80")
    pixels = [int.from_bytes(body[at : at + 3], "big") for at in range(0, len(body), 3)]
    count = min(pixels[_HEADER - 1], _MOST_WORDS)
    return Shown(
        words=frozenset(pixels[_HEADER : _HEADER + count]),
        noise_seed=(int.from_bytes(body[:8], "big"), int.from_bytes(body[8:12], "big")),
    )


class FakeGenerator:
    """Draws which of its words a prompt holds. A family shows one member, by seed; a member its family.

    ``faulty`` words come out black or filtered; ``broken`` words are known but drawn as nothing.
    ``drawn`` lists every request it really drew, in order.
    """

    def __init__(
        self,
        store: StoresImages,
        *,
        vocabulary: Sequence[str] = FAKE_VOCABULARY,
        faulty: Mapping[str, Fault] | None = None,
        broken: Iterable[str] = (),
        families: Mapping[str, tuple[str, ...]] = FAKE_FAMILIES,
    ) -> None:
        self.drawn: list[DrawRequest] = []
        self._store = store
        self._faulty = dict(faulty or {})
        self._broken = frozenset(broken)
        self._families = {name: members for name, members in families.items() if name in vocabulary}
        self.card = GeneratorCard(
            generator="fake",
            draws="Tiny pictures that show exactly the words of the prompt.",
            vocabulary=tuple(vocabulary),
            size=_SIDE,
            search_template="a picture of {}",
            judge_template="a photo of {}",
        )
        self.fingerprint = digest(
            tool="fake-generator",
            card=self.card.model_dump(mode="json"),
            faulty=self._faulty,
            broken=sorted(self._broken),
            families=self._families,
        )

    def __call__(self, requests: Sequence[DrawRequest]) -> list[DrawnImage]:
        """One DrawnImage per request, in order. ToolError on an unknown word, before anything is drawn."""
        for request in requests:
            require_known(self.card, request.prompt)
        pictures = [self._draw(request) for request in requests]
        images = iter(self._store.put_many([each for each in pictures if isinstance(each, Image.Image)]))
        return [
            DrawnImage(request=request, image=next(images))
            if isinstance(each, Image.Image)
            else DrawnImage(request=request, image=None, fault=each)
            for request, each in zip(requests, pictures, strict=True)
        ]

    def shows(self, request: DrawRequest) -> frozenset[str]:
        """The words that the picture of a request shows."""
        vocabulary = self.card.vocabulary or ()
        asked = {word for word in words_of(request.prompt) if word in vocabulary} - self._broken
        for family, members in self._families.items():
            held = asked.intersection(members)
            if family in asked and not held:
                asked.add(members[request.seed % len(members)])
            elif held:
                asked.add(family)
        return frozenset(asked - self._broken)

    def _draw(self, request: DrawRequest) -> Image.Image | Fault:
        self.drawn.append(request)
        faults = (self._faulty[word] for word in words_of(request.prompt) if word in self._faulty)
        return next(faults, None) or paint(self.shows(request), prompt=request.prompt, seed=request.seed)


def fake_scenes(vocabulary: Sequence[str], *, count: int, seed: int) -> list[DrawRequest]:
    """Requests for ``count`` pictures of two to five random words each."""
    rng = np.random.default_rng(seed)
    most = min(5, len(vocabulary))
    return [
        DrawRequest(
            prompt=" ".join(rng.choice(vocabulary, size=rng.integers(min(2, most), most + 1), replace=False)),
            seed=int(rng.integers(2**31)),
        )
        for _ in range(count)
    ]


class FakeProbe(NamedTuple):
    """The pictures that fake exemplars and fake control sets are made of."""

    images: tuple[str, ...]
    shown: tuple[frozenset[str], ...]
    """The words that each image shows."""


def fake_probe(generator: FakeGenerator, *, count: int, seed: int) -> FakeProbe:
    """``count`` random word scenes, drawn."""
    requests = fake_scenes(generator.card.vocabulary or (), count=count, seed=seed)
    images = tuple(drawn.image for drawn in generator(requests) if drawn.image)
    if len(images) != count:
        raise UsageError("A fake probe set needs a generator without faulty words; leave faulty empty.")
    return FakeProbe(images, tuple(generator.shows(request) for request in requests))
