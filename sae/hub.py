"""Dictionary folders on the Hugging Face hub: up with a model card, down whole and checked."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import yaml

from sae.card import CARD_FILE, BackboneSpec, DictionaryCard, read_card, write_card
from sae.dictionary import WEIGHTS_FILE, load_dictionary
from sae.errors import BadDictionary, ModelUnreachable, UnfitRequest, first_line
from sae.model_folder import hub_cache, is_hub_id

PAGE_FILE = "README.md"
COMPANIONS = ("truth.json", "facts.json", "statistics.safetensors")
"""Small files that go along where they are."""
TAGS = ("sparse-autoencoder", "interpretability", "vision", "namesae")


class Hub(Protocol):
    """What of huggingface_hub.HfApi is used."""

    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> Any: ...

    def create_commit(self, repo_id: str, operations: Iterable[Any], *, commit_message: str) -> Any: ...

    def snapshot_download(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        allow_patterns: list[str] | str | None = None,
    ) -> Any: ...


class Upload(NamedTuple):
    """What is said beyond the dictionary's own card."""

    licence: str | None = None
    """As the hub spells it, such as 'mit'."""
    words: str = ""
    """A paragraph or more of Markdown for the model card."""
    private: bool = False
    backbone: BackboneSpec | None = None
    """Where others find the backbone, when the dictionary's card names a local folder."""


_PLAIN = Upload()


def push(
    folder: Path,
    repository: str,
    *,
    upload: Upload = _PLAIN,
    hub: Hub | None = None,
) -> str:
    """Upload a dictionary folder as one commit of 'org/name', made where it does not exist; its address.

    The folder is checked first. BadDictionary where it is damaged or its backbone is a local folder, which
    nobody else has; ModelUnreachable.
    """
    from huggingface_hub import CommitOperationAdd

    _refuse_name(repository)
    card = read_card(folder)
    load_dictionary(folder)
    card = _shared(card if upload.backbone is None else _on(card, upload.backbone), folder)
    files: dict[str, bytes | str] = {
        PAGE_FILE: model_card(card, repository, upload=upload).encode(),
        CARD_FILE: _as_bytes(card),
        WEIGHTS_FILE: str(folder / WEIGHTS_FILE),
    }
    files |= {name: str(folder / name) for name in COMPANIONS if (folder / name).is_file()}
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=held) for name, held in files.items()]
    api = hub or _real_hub()
    try:
        api.create_repo(repository, private=upload.private, exist_ok=True)
        commit = api.create_commit(repository, operations, commit_message=f"Dictionary {card.name}")
    except OSError as error:
        raise ModelUnreachable(
            f"Dictionary {card.name!r} cannot be pushed to {repository}: {first_line(error).rstrip('.')}; "
            "log in with 'hf auth login', check the name and the network."
        ) from error
    return str(getattr(commit, "commit_url", commit))


def pull(
    repository: str, target: Path, *, revision: str | None = None, hub: Hub | None = None
) -> DictionaryCard:
    """Download a dictionary folder of this library to a folder where nothing is yet; its card.

    It appears only once it is whole and its weights fit its card. BadDictionary where the repository holds
    none (sae.loading.load reads other libraries' files); ModelUnreachable.
    """
    _refuse_name(repository)
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise UnfitRequest(f"{target} exists already; give a folder where nothing is.")
    api, patterns = hub or _real_hub(), [CARD_FILE, WEIGHTS_FILE, PAGE_FILE, *COMPANIONS]
    try:
        found = api.snapshot_download(
            repository, revision=revision, cache_dir=hub_cache(), allow_patterns=patterns
        )
    except OSError as error:
        at = f" at revision {revision}" if revision else ""
        raise ModelUnreachable(
            f"Dictionary {repository!r}{at} cannot be downloaded ({type(error).__name__}); check the id and "
            "the network."
        ) from error
    return _placed(Path(str(found)), target, repository)


def _placed(snapshot: Path, target: Path, repository: str) -> DictionaryCard:
    if not (snapshot / CARD_FILE).is_file():
        raise BadDictionary(
            f"{repository} holds no {CARD_FILE}, so it is no dictionary of this library; import it instead."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
    try:
        # Files of a snapshot are links into the cache.
        shutil.copytree(snapshot, scratch, ignore=_foreign)
        card = read_card(scratch)
        load_dictionary(scratch)
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return card


def _foreign(folder: str, names: list[str]) -> list[str]:
    """What is in the cache of the same repository for another purpose."""
    return [name for name in names if name not in (CARD_FILE, WEIGHTS_FILE, PAGE_FILE, *COMPANIONS)]


def model_card(card: DictionaryCard, repository: str, *, upload: Upload = _PLAIN) -> str:
    """README.md of a dictionary: YAML that the hub reads, then what it is, where from, and how to load it."""
    matter: dict[str, Any] = {
        "library_name": "namesae",
        "tags": list(TAGS),
        "base_model": card.backbone.source,
    }
    if upload.licence:
        matter["license"] = upload.licence
    head = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)
    words = f"\n{upload.words.strip()}\n" if upload.words.strip() else ""
    rows = "\n".join(f"| {name} | {value} |" for name, value in _facts(card).items())
    return (
        f"---\n{head}---\n\n# {card.name}\n\n"
        f"A sparse autoencoder on {card.backbone.source}, read at {card.hook_point}.\n{words}\n"
        f"| | |\n|---|---|\n{rows}\n\n## Use it\n\n"
        "```python\nfrom sae.loading import load\n\n"
        f'dictionary = load("{repository}").dictionary\ncodes = dictionary.encode(activations)\n```\n\n'
        f"```\nnamesae sae import {repository} --out {card.name}\n```\n"
    )


def _facts(card: DictionaryCard) -> dict[str, str]:
    revision = f" at {card.backbone.revision}" if card.backbone.revision else ""
    probed = card.probe_set
    facts = {
        "architecture": card.architecture,
        "features": f"{card.n_features:,}",
        "width of the activation": f"{card.width:,}",
        "active features": "" if card.k is None else f"{card.k}",
        "threshold": "" if card.threshold is None else f"{card.threshold:.6g}",
        "backbone": f"{card.backbone.kind}: {card.backbone.source}{revision}",
        "hook point": card.hook_point,
        "tokens to one activation": card.pooling,
        "input": f"mean: {card.normalise.mean}, scale: {card.normalise.scale}",
        "statistics measured on": "" if probed is None else f"{probed.images:,} images of {probed.source}",
        "sha256 of the weights": f"`{card.weights}`",
    }
    return {name: value.replace("|", r"\|") for name, value in facts.items() if value}


def _shared(card: DictionaryCard, folder: Path) -> DictionaryCard:
    """The card without what only this machine has."""
    if _is_local(card.backbone.source, folder):
        raise UnfitRequest(
            f"The backbone of {folder} is the folder {card.backbone.source}, which nobody else has; "
            "say with what hub id others find it."
        )
    generator = card.generator if card.generator and not _is_local(card.generator, folder) else None
    tagger = card.tagger if card.tagger and not _is_local(card.tagger.source, folder) else None
    watched = card.witness.partition(":")[2] if card.witness else ""
    witness = None if _is_local(watched, folder) else card.witness
    probed = card.probe_set
    if probed is not None and Path(probed.source).is_absolute():
        probed = probed.model_copy(update={"source": Path(probed.source).name})
    update = {"generator": generator, "tagger": tagger, "witness": witness, "probe_set": probed}
    return card.model_copy(update=update)


def _on(card: DictionaryCard, backbone: BackboneSpec) -> DictionaryCard:
    return card.model_copy(update={"backbone": backbone})


def _as_bytes(card: DictionaryCard) -> bytes:
    with TemporaryDirectory() as scratch:
        write_card(card, Path(scratch))
        return (Path(scratch) / CARD_FILE).read_bytes()


def _is_local(source: str, folder: Path) -> bool:
    """Whether it is, or looks like, a folder of this machine."""
    bare = source.partition("@")[0]
    return (folder / bare).is_dir() or bare.startswith(".") or not is_hub_id(bare)


def _refuse_name(repository: str) -> None:
    if not is_hub_id(repository):
        raise UnfitRequest(
            f"Repository {repository!r} is not of the form organisation/name; give such a one."
        )


def _real_hub() -> Hub:
    from huggingface_hub import HfApi

    return HfApi()
