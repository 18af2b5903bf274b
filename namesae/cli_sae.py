"""``namesae sae``: train, load, measure and look into dictionaries."""

from __future__ import annotations

import typer

from namesae import (
    cli_sae_eval,
    cli_sae_extract,
    cli_sae_files,
    cli_sae_gaze,
    cli_sae_look,
    cli_sae_train,
)

sae = typer.Typer(rich_markup_mode=None)
for part in (cli_sae_extract, cli_sae_train, cli_sae_eval, cli_sae_files, cli_sae_look, cli_sae_gaze):
    part.add_to(sae)
