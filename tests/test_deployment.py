"""What is deployed is what the code has: compose file, Dockerfiles and .env.example, without an engine."""

from __future__ import annotations

import ast
import fnmatch
import io
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from dotenv import dotenv_values
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from typer.main import get_command

from namesae import cli_mcp, cli_serve, cli_worker
from namesae.cli import app as whole
from namesae.settings import PREFIX, Settings, load_settings
from tests.api_service import served, settings_at
from tests.command_line import ROOT
from tests.dockerfiles import Dockerfile, read_dockerfile
from tests.served_runs import until

SCHEMA = json.loads((ROOT / "tests/data/compose-spec/compose-spec.json").read_text(encoding="utf-8"))
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
OURS = ("api", "worker")
DOCKERFILES = {name: read_dockerfile(ROOT / "docker" / f"Dockerfile.{name}") for name in OURS}
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
SHARED = {"redis_url", "openai_api_key", "openai_base_url", "openai_model"}
LIBRARIES = {
    *("HF_HUB_OFFLINE", "HF_TOKEN", "NO_COLOR", "XDG_DATA_HOME"),
    *("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TIMEOUT"),
    *(f"LANGSMITH_{name}" for name in ("TRACING", "ENDPOINT", "API_KEY", "PROJECT")),
    *("LANGSMITH_HIDE_INPUTS", "LANGSMITH_HIDE_OUTPUTS"),
}
"""Read by what namesae is built on, or by the settings under a name of XDG."""
INTERPOLATED = re.compile(r"\$\{([A-Z_]+)(?::?[-?]([^}]*))?\}")
SET = re.compile(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def filled(text: str, **values: str) -> str:
    """What compose makes of a text with variables."""
    return INTERPOLATED.sub(lambda found: values.get(found[1], found[2] or ""), text)


def instances(*arguments: str) -> Any:
    """The command that these words call, parsed as the command line would."""
    only = typer.Typer()
    for module in (cli_serve, cli_worker, cli_mcp):
        module.add_to(only)
    group = get_command(only)
    command = group.commands[arguments[0]]  # type: ignore[attr-defined]
    context = command.make_context(arguments[0], list(arguments[1:]))
    return context.params


def test_the_compose_file_is_one_by_the_specification() -> None:
    assert list(Draft202012Validator(SCHEMA).iter_errors(COMPOSE)) == []


def test_the_schema_can_refuse() -> None:
    wrong = {**COMPOSE, "services": {**SERVICES, "api": {**SERVICES["api"], "healthchek": {}}}}
    assert [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(wrong)] != []


@pytest.mark.parametrize("service", OURS)
def test_commands_of_services_and_images_are_commands_that_exist(service: str) -> None:
    for words in (SERVICES[service]["command"], DOCKERFILES[service].last("CMD").command()):
        program, *arguments = [filled(word) for word in words]
        assert program == "namesae"
        told = instances(*arguments)
        assert told["debug"] is False
        if service == "api":
            assert (told["host"], told["port"], told["worker"]) == ("0.0.0.0", 8765, False)
            assert told["name"] in ((), [], None, ["localhost"], ("localhost",))


def test_the_ports_are_those_that_are_listened_on() -> None:
    default = instances("serve")["port"]
    (published,) = SERVICES["api"]["ports"]
    address, outside, inside = filled(published).split(":")
    assert (address, int(outside), int(inside)) == ("127.0.0.1", default, default)
    assert int(DOCKERFILES["api"].last("EXPOSE").rest) == default
    (redis,) = SERVICES["redis"]["ports"]
    assert filled(redis) == "127.0.0.1:6379:6379"


def health_of(name: str) -> list[str]:
    """The health check of an image, which compose must not contradict."""
    return DOCKERFILES[name].last("HEALTHCHECK").command()


def test_the_service_is_asked_for_its_health_where_it_tells_it() -> None:
    from namesae.service.routes_health import router

    paths = {route.path for route in router.routes}  # type: ignore[attr-defined]
    assert SERVICES["api"]["healthcheck"]["test"][1:] == health_of("api")
    url = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", health_of("api")[-1])
    assert url is not None and int(url[1]) == instances("serve")["port"] and url[2] in paths
    for words in (health_of("api"), health_of("worker")):
        assert words[:2] == ["python", "-c"]
        compile(words[2], "healthcheck", "exec")


def test_the_workers_health_check_says_whether_its_redis_answers(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = compile(health_of("worker")[2], "healthcheck", "exec")
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    exec(code, {})
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    with pytest.raises(Exception, match=r"(?i)connect"):
        exec(code, {})


def test_the_apis_health_check_asks_a_real_service(redis_server: Any, redis: Any, tmp_path: Path) -> None:
    with served(settings_at(redis_server.url, tmp_path / "home")) as place:
        code = health_of("api")[2].replace("http://127.0.0.1:8765", place.url)
        assert code != health_of("api")[2]
        # Until it has read the dictionaries it is not ready; the engine asks again, as this does.
        until(lambda: place.app.state.warming.is_over)
        exec(compile(code, "healthcheck", "exec"), {})


def test_redis_keeps_what_it_is_told_and_asks_for_its_password() -> None:
    words = [filled(word, REDIS_PASSWORD="secret") for word in SERVICES["redis"]["command"]]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options == {
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
        "--requirepass": "secret",
    }
    url = filled(SERVICES["api"]["environment"]["REDIS_URL"], REDIS_PASSWORD="secret")
    assert url == "redis://:secret@redis:6379/0"
    assert SERVICES["redis"]["environment"]["REDISCLI_AUTH"].startswith("${REDIS_PASSWORD:?")
    assert "redis:/data" in SERVICES["redis"]["volumes"]


@pytest.mark.parametrize("service", OURS)
def test_what_containers_are_given_are_settings_that_load(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in SERVICES[service]["environment"].items():
        monkeypatch.setenv(name, filled(str(value), REDIS_PASSWORD="secret"))
    settings = load_settings()
    assert str(settings.home) == "/data" and settings.redis_url is not None
    assert str(settings.bank).startswith("/data/")
    assert "data:/data" in SERVICES[service]["volumes"]
    assert {"redis", "data", "vllm"} == set(COMPOSE["volumes"])
    assert SERVICES[service]["depends_on"] == {"redis": {"condition": "service_healthy"}}


@pytest.mark.parametrize("service", OURS)
def test_images_are_built_from_files_that_are_there_and_let_in(service: str) -> None:
    build = SERVICES[service]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    file = DOCKERFILES[service]
    copied = [
        word
        for each in file.all("COPY")
        if not each.rest.startswith("--from")
        for word in shlex.split(each.rest)[:-1]
    ]
    assert {"requirements.lock", "pyproject.toml", "namesae", "agent", "sae", "tools"} <= set(copied)
    assert [path for path in copied if not (ROOT / path).exists() or is_ignored(path)] == []


def is_ignored(path: str) -> bool:
    """By .dockerignore, whose last matching line counts."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#") and fnmatch.fnmatch(path, line.lstrip("!")):
            ignored = not line.startswith("!")
    return ignored


def test_nothing_of_this_machine_or_its_secrets_is_sent_to_be_built() -> None:
    assert all(is_ignored(path) for path in (".env", ".git", ".venv", "tests", "docker", "docs", ".training"))
    # What is packed into the wheel is copied, so nothing of it may be missing.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for file in DOCKERFILES.values():
        copied = {word for each in file.all("COPY") for word in shlex.split(each.rest)[:-1]}
        assert set(packages) <= copied and {project["project"]["readme"], "LICENSE"} <= copied
        named = " ".join(each.rest for each in file.all("RUN"))
        assert set(re.findall(r"--extra (\w+)", named)) <= set(project["project"]["optional-dependencies"])


@pytest.mark.parametrize("file", DOCKERFILES.values(), ids=DOCKERFILES)
def test_images_install_the_lock_with_uv_and_run_as_nobody_special(file: Dockerfile) -> None:
    runs = [each.rest for each in file.all("RUN")]
    assert any("grep '^uv=='" in each for each in runs)
    assert re.search(r"^uv==", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert sum("--constraints requirements.lock" in each for each in runs) == 1
    assert sum("--build-constraints requirements.lock" in each for each in runs) == 1
    user = file.last("USER").rest
    assert user.isdecimal() and int(user) > 0 and any(f"useradd --uid {user}" in each for each in runs)
    order = [each.name for each in file.final]
    assert order.index("USER") < order.index("CMD") and "HEALTHCHECK" in order
    assert file.last("STOPSIGNAL").rest == "SIGTERM"
    assert file.last("VOLUME").rest == "/data"
    bases = {each.rest.split()[0] for each in file.all("FROM")}
    versions = {re.search(r":(3\.\d+)", base)[1] for base in bases}  # type: ignore[index]
    assert versions <= {"3.11", "3.12"}


@pytest.mark.parametrize(
    "name", ["docker-compose.yml", ".env.example", "docker/Dockerfile.api", "docker/Dockerfile.worker"]
)
def test_no_file_names_a_package_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    # No command line says where packages come from, and every address there is, with or without a scheme, is
    # known to be no registry's.
    options = re.findall(r"--([a-z-]+)", text)
    assert not [each for each in options if "index" in each or each.startswith("find")]
    assert "INDEX" not in text
    asked = set(re.findall(r"https?://([^/:\s\"']+)", text))
    assert asked <= {"127.0.0.1", "vllm", "api.openai.com", "api.smith.langchain.com"}
    hosts = set(re.findall(r"\b(?:[\w-]+\.)+(?:org|com|io|net|dev)\b", text))
    assert hosts <= {"api.openai.com", "api.smith.langchain.com"}


def test_only_the_worker_and_the_llm_hold_a_gpu_and_the_llm_is_asked_for() -> None:
    held = {name for name, each in SERVICES.items() if "devices" in json.dumps(each.get("deploy", {}))}
    assert held == {"worker", "vllm"}
    assert {name for name, each in SERVICES.items() if each.get("profiles")} == {"vllm"}
    assert "http://vllm:8000/v1" in EXAMPLE


def test_containers_are_stopped_no_sooner_than_they_have_drained() -> None:
    from namesae.service.app import ServeOptions

    grace = {name: int(SERVICES[name]["stop_grace_period"].removesuffix("s")) for name in OURS}
    assert min(grace.values()) > ServeOptions().drain_s


# .env.example


def names_of(field: str) -> set[str]:
    """The variables that set a setting."""
    own = f"{PREFIX}{field.upper()}"
    return {own, field.upper()} if field in SHARED else {own}


def variables_read() -> Iterator[str]:
    """By the code: every constant in os.environ[...], .get(...) and in, names of modules looked up."""
    for package in ("namesae", "agent", "tools", "sae", "evals", "sandbox"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "environ" not in text and "getenv" not in text:
                continue
            tree = ast.parse(text)
            held = {
                target.id: node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(tree):
                yield from _strings(_variable(node), held)


def _variable(node: ast.AST) -> ast.AST | None:
    """What is looked up in the environment, if the node does."""
    if isinstance(node, ast.Call) and node.args and "environ.get" in ast.unparse(node.func):
        return node.args[0]
    if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) == "os.getenv":
        return node.args[0]
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
        return node.slice if isinstance(node.ctx, ast.Load) else None
    if isinstance(node, ast.comprehension) and "environ" in ast.unparse(node):
        return node.iter
    if isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "os.environ":
        return node.left
    return None


def _strings(node: ast.AST | None, held: dict[str, ast.expr]) -> Iterator[str]:
    if isinstance(node, ast.Name) and node.id in held:
        node = held[node.id]
    if isinstance(node, ast.JoinedStr):
        return
    for each in ast.walk(node) if node is not None else ():
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def documented() -> set[str]:
    return {name for name, _ in SET.findall(EXAMPLE)}


def interpolated() -> set[str]:
    return {name for name, _ in INTERPOLATED.findall(COMPOSE_TEXT)}


def test_the_scan_finds_what_the_code_reads() -> None:
    found = set(variables_read())
    assert {"XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "HF_HOME", "OTEL_EXPORTER_OTLP_ENDPOINT"} <= found
    assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" in found


def test_every_setting_and_variable_is_in_the_example() -> None:
    told = documented()
    assert [field for field in Settings.model_fields if not names_of(field) & told] == []
    read = {name for name in variables_read() if re.fullmatch(r"[A-Z][A-Z0-9_]+", name)}
    assert read - told == set()
    assert interpolated() - told == set()


def test_everything_in_the_example_is_read_by_something() -> None:
    known = {name for field in Settings.model_fields for name in names_of(field)}
    assert documented() - known - interpolated() - set(variables_read()) - LIBRARIES == set()


def test_the_example_can_be_copied_as_it_is_and_with_every_line_in_force(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(EXAMPLE, encoding="utf-8")
    assert load_settings() == load_settings(seed=0)
    (tmp_path / ".env").write_text(SET.sub(r"\1=\2", EXAMPLE), encoding="utf-8")
    monkeypatch.delenv("NAMESAE_HOME")
    settings = load_settings()
    assert settings.openai_model == "gpt-5-mini" and settings.control_count == 1000


def test_defaults_that_the_example_shows_are_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = dotenv_values(stream=io.StringIO(SET.sub(r"\1=\2", EXAMPLE)))
    numbers: tuple[str, ...] = (
        "openai_timeout",
        "openai_image_side",
        "max_images",
        "sealed_images",
        "cost_limit",
        "seed",
    )
    numbers += ("probe_count", "control_count", "fsync", "yes", "review", "fakes", "openai_stream")
    for field in numbers:
        default = Settings.model_fields[field].default
        told = shown[f"{PREFIX}{field.upper()}"]
        assert told is not None
        assert told in (str(default), str(default).lower()) or float(told) == default, field


def test_the_whole_command_line_has_these_commands() -> None:
    assert {"serve", "worker", "mcp", "token"} <= set(get_command(whole).commands)  # type: ignore[attr-defined]
