"""``namesae sae import``, ``export``, ``clean``, ``push``, ``pull``: dictionaries in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from namesae.cli_options import AsJson, Debug
from sae.pooling import Pooling

Accept = Literal["loaded", "best"]
Form = Literal["saelens", "sparsify", "dictionary_learning", "prisma", "saev", "msae", "torch"]

Dictionary = Annotated[
    str, typer.Argument(metavar="DICTIONARY", help="A name (see namesae dictionaries), a folder or a file.")
]
Flavor = Annotated[
    str | None, typer.Option(metavar="NAME", help="Whose file it is, where files of several look the same.")
]
K = Annotated[
    int | None, typer.Option("--k", metavar="K", min=1, help="Active features, where the file does not say.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import", short_help="Bring in a dictionary from anywhere.")(import_)
    app.command("export", short_help="Write a dictionary for another library.")(export)
    app.command("clean", short_help="Strip a checkpoint of its optimiser.")(clean)
    app.command("push", short_help="Upload a dictionary to the hub.")(push)
    app.command("pull", short_help="Download a dictionary of namesae's own from the hub.")(pull)


def import_(
    source: Annotated[
        str,
        typer.Argument(metavar="PATH|REPO", help="A file, a folder, org/name[@revision] or org/name/file."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The dictionary's new folder.")],
    flavor: Flavor = None,
    k: K = None,
    mapping: Annotated[
        str | None,
        typer.Option(metavar="W_enc=A,W_dec=B,...", help="Which weight is which, in a file of no library."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="KIND:SOURCE", help="open_clip:, timm:, transformers:... if it does not say."),
    ] = None,
    hook_point: Annotated[
        str | None, typer.Option(metavar="NAME", help="block.3, pooled, ... if it does not say.")
    ] = None,
    pooling: Annotated[Pooling | None, typer.Option(help="From tokens to one activation per image.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Default: the folder's.")] = None,
    verify: Annotated[
        str | None,
        typer.Option(metavar="IMAGES", help="Test the reading on a folder of images or sandbox.sets."),
    ] = None,
    images: Annotated[int, typer.Option(metavar="N", min=16, help="Images to verify with.")] = 64,
    accept: Annotated[
        Accept | None, typer.Option(help="What to write although another reading fits better.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Read a dictionary in the form of any library and write it as a folder that can be named.

    Nothing in the file is run. With --verify its reconstructions of real activations are compared with
    those of other readings: b_dec subtracted or not, b_enc used or not, layer norm or not, mean and scale
    or not, the layers beside, class token or patches. Where another fits clearly better, nothing is
    written and the command exits with 5.

    \b
    Examples:
      namesae sae export sandbox --format saelens --out lens
      namesae sae import lens --backbone open_clip:sandbox/models/clip --hook-point pooled --out back
      namesae sae import lens --backbone open_clip:sandbox/models/clip --hook-point pooled
        --verify sandbox.sets --out checked
    """
    from namesae.sae_files import report
    from namesae.sae_importing import Wanted, import_dictionary

    wanted = Wanted(
        source=source,
        out=out,
        flavor=flavor,
        k=k,
        mapping=mapping,
        backbone=backbone,
        hook_point=hook_point,
        pooling=pooling,
        verify=verify,
        images=images,
        accept=accept,
        name=name,
    )
    return report(lambda: import_dictionary(wanted), as_json=as_json)


def export(
    dictionary: Dictionary,
    form: Annotated[Form, typer.Option("--format", help="For which library.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="A new folder, or a file for saev and torch.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Write a dictionary for another library; it is read back and compared before it appears.

    Mean and scale are folded into the weights. What a library has no form for is refused by name.

    \b
    Examples:
      namesae sae export sandbox --format saelens --out lens
      namesae sae export sandbox-vit --format saev --out sae.pt
      namesae sae export sandbox-patch --format msae --out msae --json
    """
    from namesae.sae_files import export_dictionary, report

    return report(lambda: export_dictionary(dictionary, out, form=form), as_json=as_json)


def clean(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A torch file of any library.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The cleaned file.")],
    flavor: Flavor = None,
    k: K = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Keep the weights and the configuration of a checkpoint, leave out optimiser, scheduler and the like.

    The result loads with torch's weights_only and is the same dictionary. Objects become plain settings.

    \b
    Examples:
      namesae sae export sandbox --format torch --out checkpoint.pth
      namesae sae clean checkpoint.pth --out clean.pth
    """
    from namesae.sae_files import clean_checkpoint, report

    return report(lambda: clean_checkpoint(checkpoint, out, flavor=flavor, k=k), as_json=as_json)


def push(
    dictionary: Annotated[str, typer.Argument(metavar="DICTIONARY", help="A name or a folder.")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Made where it does not exist.")],
    backbone: Annotated[
        str | None,
        typer.Option(metavar="KIND:ID", help="Where others find the backbone, if it is a local folder."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", "--license", metavar="NAME", help="mit, apache-2.0, ...")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="For you alone.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Upload a dictionary with a model card; log in first with: hf auth login."""
    from namesae.sae_files import Written, push_dictionary, report

    def work() -> Written:
        return push_dictionary(dictionary, repository, backbone=backbone, licence=licence, private=private)

    return report(work, as_json=as_json)


def pull(
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME[@REVISION]")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where nothing is yet.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Download a dictionary that was pushed from here; for those of other libraries there is import."""
    from namesae.sae_files import pull_dictionary, report

    return report(lambda: pull_dictionary(repository, out), as_json=as_json)
