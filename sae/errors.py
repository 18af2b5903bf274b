"""What can be wrong with a dictionary or a backbone, in one sentence each: what, the value, the remedy."""

from __future__ import annotations


class BadDictionary(ValueError):
    """A dictionary folder is missing a part, is corrupt, or does not fit its card or its backbone."""


class UnfitRequest(BadDictionary):
    """What is asked of a dictionary does not fit it: a flavour, a k, a feature, a library to write it for."""


class BadModel(ValueError):
    """A model folder or hub snapshot cannot be loaded as the kind of backbone asked for."""


class UnknownHookPoint(ValueError):
    """A backbone has no such hook point."""


class WrongTokens(ValueError):
    """A hook point does not hold the tokens asked for, or a replacement does not fit them."""


class NoAttention(ValueError):
    """A backbone's blocks attend to no sequence of tokens, or nothing was recorded."""


class NoTextTower(ValueError):
    """A text was given to a backbone that knows images only."""


class BadStore(ValueError):
    """An activation store is missing a part, is corrupt, or is none."""


class WrongStore(BadStore):
    """What is asked of an activation store does not fit it, or another process writes it."""


class BadImages(ValueError):
    """An image, or a set of images, cannot be read."""


class BadIndex(ValueError):
    """A code index is missing a part, does not fit its card, or does not hold the feature asked for."""


class BadInterpretations(ValueError):
    """A file is not the table of interpretations that it should be."""


class SilentFeature(ValueError):
    """A feature, or a word's features, are not active on an image, so nothing there is relevant to them."""


class UnfitMethod(ValueError):
    """A way of mapping relevance does not fit a dictionary's hook point or its backbone."""


class UnreadableWords(ValueError):
    """A vocabulary file cannot be read or holds no word."""


class BadRecipe(ValueError):
    """A recipe names what there is not, contradicts itself, or does not fit its activations."""


class BadCheckpoint(ValueError):
    """A checkpoint is corrupt, or of another training."""


class BadEvents(ValueError):
    """A training's log is no TensorBoard event file, or damaged."""


class ModelUnreachable(ConnectionError):
    """A hub id is neither in the hub cache nor reachable."""


def first_line(error: Exception) -> str:
    """What a library said, as the end of a sentence of ours."""
    said = str(error).strip().partition("\n")[0].rstrip(".:")
    return f"{said or type(error).__name__}."
