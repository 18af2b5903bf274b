"""What a dictionary is asked about: a picture of the person's or of its images, and words to tell in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from namesae.sae_images import ImageChoice
from namesae.sae_looking import Desk, index_of
from tools.errors import UsageError

_PROBE = re.compile(r"probe:(\d+)")
MOST_WORDS = 512
"""Words taken where nobody gives any."""


class Shown(NamedTuple):
    """A picture and what it is called."""

    image: Image.Image
    name: str


def shown_picture(
    desk: Desk, image: str | None, *, feature: int | None, images: ImageChoice | None = None
) -> Shown:
    """A file, 'probe:N' of the images, or the one that the feature is strongest on. UsageError."""
    from tools.image_folder import read_image

    numbered = None if image is None else _PROBE.fullmatch(image)
    if image is not None and numbered is None:
        return Shown(read_image(Path(image)), image)
    source = desk.source(images)
    if numbered is not None:
        row = int(numbered[1])
    elif feature is None:
        raise UsageError("A word has no strongest image; give one with --image FILE or probe:N.")
    else:
        found = index_of(desk, source).top(feature, count=1)
        if not found:
            raise UsageError(
                f"Feature {desk.listed.name}#{feature} is never active on these images; give --image FILE."
            )
        row = found[0].row
    if row >= len(source):
        raise UsageError(f"Image {image} does not exist; there are 0 to {len(source) - 1}.")
    return Shown(source.read(row).image, f"probe:{row}" if images is None else source.key(row))


def default_words(desk: Desk, *, word: str | None = None) -> tuple[str, ...]:
    """The generator's words, all that its world has, else common English ones.

    UsageError where ``word`` is none of the generator's.
    """
    from agent.lexicon import english, load_lexicon

    path = desk.folder / (desk.card.generator or "") / "lexicon.json"
    if not path.is_file():
        return english().words[:MOST_WORDS]
    book = load_lexicon(path)
    if word is not None and not book.read(word):
        raise UsageError(f"Word {word!r} is unknown here; use one such as {', '.join(book.words[:5])}.")
    return book.words[:MOST_WORDS]


def listed_words(text: str) -> tuple[str, ...]:
    """Words between commas or on lines, each once; UsageError where fewer than two are left."""
    words = tuple(dict.fromkeys(filter(None, (each.strip() for each in re.split(r"[,\n]", text)))))
    if len(words) < 2:
        raise UsageError("One word has nothing to be told from; give two or more, such as fish,bird.")
    return words
