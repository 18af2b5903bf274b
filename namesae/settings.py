"""Every setting, in one frozen place: flag > environment > .env > config.toml > default."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from namesae.proposers import ProposerName
from tools.errors import UsageError

PREFIX = "NAMESAE_"
CONFIG_FILE = "config.toml"
DOTENV = ".env"
DEFAULT_MODEL = "gpt-5-mini"
SECRETS = frozenset({"redis_url", "openai_api_key"})


def _shared(name: str) -> AliasChoices:
    """A setting that other programs read under the same name, and ours alone under the prefixed one."""
    return AliasChoices(PREFIX + name, name)


def data_home() -> Path:
    """Where data are kept unless NAMESAE_HOME says otherwise (XDG base directories)."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share") / "namesae"


class Settings(BaseSettings):
    """What the person chose; built once, at the edge, by ``load_settings``."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_file=DOTENV,
        dotenv_filtering="only_existing",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(default_factory=data_home)
    """Data directory: the embedded Redis, images, your dictionaries, config.toml."""
    redis_url: SecretStr | None = Field(default=None, validation_alias=_shared("REDIS_URL"))
    """None starts the embedded server."""
    fsync: Literal["everysec", "always"] = "everysec"
    """When the embedded Redis writes to the disk: at most a second late, or with every record."""
    images: str | None = None
    """Folder or fsspec URL of the image store; None is ``home``/images."""
    bank: str | None = None
    """Folder or fsspec URL of the bank's compacted pictures, seen by every machine of one Redis; None is
    ``home``/bank, and with REDIS_URL set all stays in Redis."""
    openai_api_key: SecretStr | None = Field(default=None, validation_alias=_shared("OPENAI_API_KEY"))
    openai_base_url: str | None = Field(default=None, validation_alias=_shared("OPENAI_BASE_URL"))
    openai_model: str = Field(default=DEFAULT_MODEL, validation_alias=_shared("OPENAI_MODEL"))
    openai_sees: bool | None = None
    """Whether the model takes images; None goes by its name."""
    openai_timeout: float = Field(default=60.0, gt=0)
    """Seconds for a whole reply, each try."""
    openai_image_side: int = Field(default=512, ge=32, le=4096)
    """Pixels a picture that is sent has at most in either direction."""
    openai_stream: bool = True
    """Whether replies are asked for as a stream, to be seen while they come."""
    openai_price_prompt: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Dollars per million tokens sent; None is the list price, where there is one."""
    openai_price_completion: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Dollars per million tokens of the replies."""
    replay: Path | None = None
    """A recorded conversation that answers instead of the LLM."""
    proposer: ProposerName | None = None
    """None is openai where a key is set, else lexical."""
    max_images: int = Field(default=100, ge=8, le=100_000)
    """Search images a feature may use; the judge's are beside them."""
    sealed_images: int = Field(default=50, ge=2, le=10_000)
    """Images of the judge."""
    cost_limit: float = Field(default=0.10, ge=0, allow_inf_nan=False)
    """Dollars an LLM may cost, a feature."""
    yes: bool = False
    """Spend without a limit in dollars: a model of unknown price cannot keep one."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    review: bool = False
    """Whether a person rules on each name before it is accepted."""
    user: str | None = None
    """Who reviews; None is the login name."""
    generator: str | None = None
    """Diffusers folder or hub id that replaces the dictionary's own generator."""
    probe_images: Path | None = None
    """Image folder exemplars are looked for in, instead of the dictionary's own probe set."""
    probe_count: int = Field(default=5000, ge=100)
    """Most pictures of an image folder that are searched for exemplars."""
    control_images: Path | None = None
    """Image folder the control set is taken from, instead of the dictionary's own."""
    captioner: str | None = None
    """Image-to-text model that captions exemplars in evaluations; None is the dictionary's own, if any."""
    witness: str | None = None
    """KIND:SOURCE of the model that says what pictures show; None is the dictionary's own, if any."""
    control_count: int = Field(default=1000, ge=1000)
    fakes: bool = False
    """Offers the dictionary ``fake``: planted features, no weights; for tests."""

    @field_validator("home", "probe_images", "control_images", "replay")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources in order of precedence; config.toml lies in the home the earlier ones name."""
        config = _config(init_settings().get("home"))
        return (init_settings, env_settings, dotenv_settings, TomlConfigSettingsSource(settings_cls, config))

    @property
    def proposer_kind(self) -> ProposerName:
        """The proposer that will be asked."""
        return self.proposer or ("openai" if self.openai_api_key or self.replay else "lexical")

    @property
    def image_store(self) -> str:
        """Folder or URL of the image store."""
        return self.images or str(self.home / "images")


def settings_of_command(*, images: Path | str | None, yes: bool, **flags: Any) -> Settings:
    """The settings of a command that draws: its image folder holds exemplars and control images alike."""
    return load_settings(probe_images=images, control_images=images, yes=yes or None, **flags)


def load_settings(**flags: Any) -> Settings:
    """The settings, with the flags that are not None on top. UsageError in one sentence when one is wrong."""
    given = {name: value for name, value in flags.items() if value is not None}
    config = _config(given.get("home"))
    _refuse_unknown(_ours(os.environ), PREFIX, where="the environment")
    _refuse_unknown(_ours(_dotenv()), PREFIX, where=DOTENV)
    _refuse_unknown(_read_toml(config), "", where=str(config))
    try:
        return Settings(**given)
    except ValidationError as error:
        raise UsageError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in fault["loc"]).removeprefix(PREFIX).lower()
    value = "" if name in SECRETS else f" {str(fault['input'])[:60]!r}"
    reason = fault["msg"].removeprefix("Value error, ")
    return f"Setting {name}{value} is wrong: {reason[:1].lower()}{reason[1:]}."


def _config(home: Path | str | None = None) -> Path:
    chosen = home or os.environ.get(f"{PREFIX}HOME") or _dotenv().get(f"{PREFIX}HOME") or data_home()
    return Path(chosen).expanduser().absolute() / CONFIG_FILE


def _dotenv() -> dict[str, str | None]:
    return dotenv_values(DOTENV) if Path(DOTENV).is_file() else {}


def _ours(variables: Iterable[str]) -> list[str]:
    return [name for name in variables if name.startswith(PREFIX)]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as TOML ({error}); correct it.") from error


def _refuse_unknown(names: Iterable[str], prefix: str, *, where: str) -> None:
    known = [f"{prefix}{name.upper()}" if prefix else name for name in Settings.model_fields]
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
        raise UsageError(f"Setting {unknown!r} in {where} does not exist; {remedy}")
