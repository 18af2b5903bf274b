"""``python -m namesae.make_class_units SOURCE``: the classes of a classifier as a dictionary of known names.

What CoSy and LINE test namers on. SOURCE is a timm model, a hub id or a folder: torchvision's own weights are
there as well, e.g. timm/resnet50.tv_in1k.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from namesae.make_dictionary import CLIP, GENERATOR
from namesae.programs import run_program
from namesae.settings import Settings, load_settings
from sae.card import BackboneSpec, ProbeSet
from sae.model_folder import source_and_revision
from tools.errors import UsageError
from tools.image_folder import list_images

IMAGENET = "imagenet"


class Wanted(NamedTuple):
    """What the command line asks for."""

    source: str
    pictures: Path
    name: str
    classes: str = IMAGENET
    """A text file of class names, one a line, or 'imagenet'."""
    generator: str = GENERATOR
    tagger: str = CLIP


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the dictionary a command line asks for; the exit code, after one sentence for an error."""
    wanted = _parse(arguments)

    def make() -> str:
        folder = make_class_units(wanted, load_settings())
        return f"{folder}\nevaluate names of it: select = '{wanted.name}#kind=class' in a suite"

    return run_program(make)


def make_class_units(wanted: Wanted, settings: Settings) -> Path:
    """Write the dictionary among the person's own; its folder. Errors in one sentence."""
    from sae.class_units import class_units

    folder = settings.home / "dictionaries" / wanted.name
    if folder.exists():
        raise UsageError(f"Dictionary {folder} exists already; choose another --name.")
    names = class_names(wanted.classes)
    pictures = len(list_images(wanted.pictures))
    class_units(
        folder,
        name=wanted.name,
        backbone=_spec("timm", wanted.source),
        classes=names,
        generator=wanted.generator,
        probe_set=ProbeSet(source=str(wanted.pictures.resolve()), images=pictures),
        tagger=_spec("open_clip", wanted.tagger),
    )
    return folder


def class_names(classes: str) -> tuple[str, ...]:
    """The names of a file's lines, or ImageNet-1k's first synonyms. UsageError where there are none."""
    if classes == IMAGENET:
        from timm.data import ImageNetInfo

        info = ImageNetInfo()
        told = (str(info.index_to_description(index)) for index in range(info.num_classes()))
        return tuple(each.partition(",")[0].strip() for each in told)
    try:
        lines = Path(classes).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Class names {classes} cannot be read; give a text file, one name a line."
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UsageError(f"Class names {classes} is empty; give one name a line, in the order of the logits.")
    return names


def _spec(kind: str, source: str) -> BackboneSpec:
    name, revision = source_and_revision(str(Path(source).expanduser()))
    place = Path(name)
    return BackboneSpec(kind=kind, source=str(place.resolve()) if place.is_dir() else name, revision=revision)


def _parse(arguments: Sequence[str] | None) -> Wanted:
    parser = argparse.ArgumentParser(prog="python -m namesae.make_class_units", description=__doc__)
    parser.add_argument("source", help="a timm classifier: hub id, with @revision, or folder")
    parser.add_argument("pictures", type=Path, help="a folder of pictures: probe and control set")
    parser.add_argument("--name", default="classes-of-mine", help="what the dictionary is called")
    parser.add_argument("--classes", default=IMAGENET, help="a text file, one class name a line; or imagenet")
    parser.add_argument("--generator", default=GENERATOR, help="a diffusers folder or hub id")
    parser.add_argument("--tagger", default=CLIP, help="an open_clip model that reads exemplars")
    return Wanted(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
