"""Settings: which source wins, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from namesae.proposers import PROPOSERS
from namesae.settings import Settings, load_settings
from tools.errors import UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_a_flag_beats_environment_beats_dotenv_beats_config_file_beats_default(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().max_images == 100
    (home / "config.toml").write_text("max_images = 10\n")
    assert load_settings().max_images == 10
    Path(".env").write_text("NAMESAE_MAX_IMAGES=20\nSOMETHING_ELSE=1\n")
    assert load_settings().max_images == 20
    monkeypatch.setenv("NAMESAE_MAX_IMAGES", "30")
    assert load_settings().max_images == 30
    assert load_settings(max_images=40).max_images == 40
    assert load_settings(max_images=None).max_images == 30


@pytest.mark.parametrize("name", ["REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"])
def test_what_other_programs_read_is_read_under_the_same_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def held() -> str:
        value = getattr(load_settings(), name.lower())
        return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)

    (home / "config.toml").write_text(f'{name.lower()} = "from-file"\n')
    assert held() == "from-file"
    monkeypatch.setenv(name, "shared")
    assert held() == "shared"
    monkeypatch.setenv(f"NAMESAE_{name}", "ours")
    assert held() == "ours"


def test_the_data_folder_is_the_xdg_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAMESAE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert load_settings().home == tmp_path / ".local" / "share" / "namesae"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert load_settings().home == tmp_path / "data" / "namesae"


def test_the_config_file_of_a_home_given_by_flag_is_read(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.toml").write_text("seed = 7\n")
    assert load_settings(home=other).seed == 7
    assert load_settings().seed == 0


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda home: (home / "config.toml").write_text("max_imgs = 3\n"), "did you mean max_images"),
        (lambda home: (home / "config.toml").write_text("[["), "cannot be read as TOML"),
        (
            lambda home: (home / "config.toml").write_text("max_images = 'many'\n"),
            "max_images 'many' is wrong",
        ),
        (lambda home: Path(".env").write_text("NAMESAE_SEDE=1\n"), "did you mean NAMESAE_SEED"),
    ],
)
def test_a_wrong_file_is_one_sentence(home: Path, write: object, told: str) -> None:
    assert callable(write)
    write(home)
    with pytest.raises(UsageError, match=told) as raised:
        load_settings()
    assert "\n" not in str(raised.value)


def test_an_unknown_variable_is_one_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMESAE_PROPOSR", "lexical")
    with pytest.raises(UsageError, match="did you mean NAMESAE_PROPOSER"):
        load_settings()


@pytest.mark.parametrize(
    "flags", [{"max_images": 3}, {"seed": -1}, {"cost_limit": float("nan")}, {"bogus": 1}]
)
def test_a_wrong_flag_is_one_sentence(home: Path, flags: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="Setting") as raised:
        load_settings(**flags)
    assert "\n" not in str(raised.value)


def test_a_secret_is_never_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("REDIS_URL", "redis://:canary@host/0")
    settings = load_settings()
    assert "canary" not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(UsageError) as raised:
        load_settings(openai_api_key=["sk-canary"])
    assert "canary" not in str(raised.value)


def test_openai_is_asked_where_a_key_is_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().proposer_kind == "lexical"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert load_settings().proposer_kind == "openai"
    assert load_settings(proposer="lexical").proposer_kind == "lexical"


def test_every_proposer_there_is_can_be_chosen_and_no_other(home: Path) -> None:
    for each in PROPOSERS:
        assert load_settings(proposer=each).proposer_kind == each
    with pytest.raises(UsageError, match=r"proposer 'nobody' is wrong: .*'openai' or 'lexical'"):
        load_settings(proposer="nobody")


def test_settings_are_frozen_and_hashable(home: Path) -> None:
    settings = load_settings()
    assert hash(settings) == hash(load_settings())
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 3
    assert isinstance(settings, Settings)
