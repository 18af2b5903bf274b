"""Whose file it is: the formats there are, told apart by names of weights and by configurations."""

from __future__ import annotations

from sae.errors import BadDictionary, UnfitRequest
from sae.formats.bussmann import BUSSMANN
from sae.formats.clipscope import CLIPSCOPE, LASGROUP
from sae.formats.hugofry import HUGOFRY
from sae.formats.learning import LEARNING
from sae.formats.martetten import MARTETTEN
from sae.formats.msae import MSAE
from sae.formats.nworkv import NWORKV
from sae.formats.openai import OPENAI, SDXL_UNBOX
from sae.formats.overcomplete import OVERCOMPLETE
from sae.formats.prisma import PRISMA
from sae.formats.quadruple import GEMMA_SCOPE, QUADRUPLE
from sae.formats.reading import Format, Source
from sae.formats.saelens import SAELENS
from sae.formats.saev import SAEV
from sae.formats.safety import ASF, DN_CBM
from sae.formats.sative import SATIVE
from sae.formats.sparsify import SPARSIFY, VL_SAE

FORMATS: tuple[Format, ...] = (
    *(SAEV, SATIVE, GEMMA_SCOPE, MSAE, DN_CBM, ASF, NWORKV, MARTETTEN, SDXL_UNBOX, OPENAI, OVERCOMPLETE),
    *(VL_SAE, SPARSIFY, LASGROUP, LEARNING, CLIPSCOPE, PRISMA, HUGOFRY, BUSSMANN, SAELENS, QUADRUPLE),
)
"""The first that claims a file reads it."""


def flavors() -> tuple[str, ...]:
    """What ``flavor`` may be."""
    named = [each.name for each in FORMATS if each is not QUADRUPLE]
    return tuple(dict.fromkeys([*named, *(flavor for each in FORMATS for flavor in each.flavors)]))


def format_of(source: Source) -> Format:
    """Whose file it is, or who its ``flavor`` says. BadDictionary where nobody claims it."""
    if source.flavor is not None:
        return _flavored(source, source.flavor)
    found = next((each for each in FORMATS if each.claims(source)), None)
    if found is not None:
        return found
    if not source.tensors:
        raise BadDictionary("it holds no weights of a dictionary")
    listed = ", ".join(list(source.tensors)[:12]) + (", ..." if len(source.tensors) > 12 else "")
    raise UnfitRequest(
        f"its weights are {listed}, which no known library calls them; say what they are with mapping"
    )


def _flavored(source: Source, flavor: str) -> Format:
    known = [each for each in FORMATS if flavor == each.name or flavor in each.flavors]
    if not known:
        raise UnfitRequest(f"there is no flavor {flavor!r}; have {', '.join(flavors())}")
    found = next((each for each in known if each.claims(source)), None)
    if found is None:
        raise UnfitRequest(
            f"it does not hold what a file of {flavor} does, but {', '.join(list(source.tensors)[:12])}"
        )
    return found
