"""MCP as its clients see it: in this process and over standard streams."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError

from namesae.mcp_server import build_mcp
from namesae.mcp_tools import MOST_IMAGE, SCOPES, decoded
from namesae.mcp_work import Bound, bound_of, require_budget
from namesae.service.orders import EvalOrder
from namesae.service.service import Service
from namesae.settings import Settings
from namesae.wiring import open_state
from tests.api_service import settings_at
from tests.command_line import ROOT, plant
from tests.mcp_calls import (
    ARGUMENTS,
    NAMING,
    PNG,
    as_child,
    call,
    check_naming,
    named_and_traced,
    talk,
    working,
)
from tools.errors import BudgetError, UsageError


@pytest.fixture
def settings(redis: Any, redis_server: Any, tmp_path: Path) -> Settings:
    return settings_at(redis_server.url, tmp_path / "home")


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    with open_state(settings) as state:
        yield Service(settings, state)


def test_a_program_names_a_feature_and_reads_its_trace(service: Service, settings: Settings) -> None:
    with working(settings):
        check_naming(*talk(build_mcp(service, local=True), named_and_traced))
        again = talk(build_mcp(service, local=True), lambda client: call(client, "name_feature", **NAMING))
    assert again.answer["answer"]["stored"] is True and again.progress == ()


def test_what_is_named_can_be_looked_at_searched_and_shown(service: Service, settings: Settings) -> None:
    async def look(client: Client) -> None:
        before = await call(client, "get_feature", feature="fake#0")
        assert before.error is None and before.answer["answered"] is False
        assert (await call(client, "name_feature", **NAMING)).answer["answer"]["name"] == "striped"
        shown = await call(client, "get_feature", feature="fake#0", pictures=3)
        assert shown.answer["answered"] and shown.answer["run_uri"].startswith("namesae://run/")
        assert [each.type for each in shown.content] == ["text", "image", "image", "image"]
        assert all(len(each.data) < 32_000 for each in shown.content[1:])
        found = await call(client, "search_features", text="striped")
        assert found.answer["hits"][0]["uri"] == shown.answer["uri"] == "namesae://feature/fake/0"
        picture = shown.answer["judged"][0]["uri"]
        fired = await call(client, "top_features_for_image", dictionary="fake", image=picture)
        assert fired.error is None, fired.error
        assert fired.answer["hits"][0]["feature"] == "fake#0" and fired.answer["hits"][0]["fires"]
        whole = await client.read_resource("namesae://feature/fake/0")
        assert json.loads(whole.contents[0].text)["sealed"]["auroc"] == shown.answer["auroc"]  # type: ignore[union-attr]
        listed = await client.read_resource("namesae://dictionaries")
        assert json.loads(listed.contents[0].text)[0]["name"]  # type: ignore[union-attr]
        text = await client.read_resource(f"{shown.answer['run_uri']}/markdown")
        assert "striped" in text.contents[0].text  # type: ignore[union-attr]

    with working(settings):
        talk(build_mcp(service, local=True), look)


def test_a_caller_that_does_not_wait_gets_the_run_to_follow(service: Service) -> None:
    async def leave(client: Client) -> None:
        told = await call(client, "name_feature", **NAMING, wait_s=0)
        assert (told.answer["state"], told.answer["answer"]) == ("queued", None)
        assert told.answer["next"] == "It waits for a worker; call get_trace with this run in a while."
        followed = await call(client, "get_trace", run=told.answer["run"])
        assert followed.error is None and followed.answer["state"] == "queued"
        same = await call(client, "name_feature", **NAMING, wait_s=0)
        assert same.answer["run"] == told.answer["run"]

    talk(build_mcp(service, local=True), leave)


def test_our_own_worker_is_called_once_an_order_lies_untaken(service: Service) -> None:
    calls: list[int] = []

    async def order(client: Client) -> None:
        await call(client, "name_feature", **NAMING, wait_s=0)
        assert len(calls) == 1
        await call(client, "name_feature", **NAMING, wait_s=1.5)

    talk(build_mcp(service, local=True, awaken=lambda: calls.append(1)), order)
    assert len(calls) > 1


@pytest.mark.parametrize(
    "tool, arguments, sentence",
    [
        ("name_feature", {"feature": "fake#0", "cost_limit": 0}, "max_images is wrong: field required."),
        ("name_feature", {"feature": "fake#0", "max_images": 8}, "cost_limit is wrong: field required."),
        ("name_feature", {**NAMING, "max_images": 7}, "max_images is wrong: input should be greater"),
        ("name_feature", {**NAMING, "cost_limit": float("nan")}, "cost_limit is wrong"),
        ("name_feature", {**NAMING, "feature": "fake#999"}, "fake"),
        ("name_feature", {**NAMING, "feature": "../../etc#1"}, "'../../etc' does not exist"),
        ("run_eval", {"suite": "sandbox-quick"}, "max_images is wrong: field required."),
        ("run_eval", {**ARGUMENTS["run_eval"], "suite": "nosuch"}, "Suite 'nosuch' does not exist"),
        ("run_eval", ARGUMENTS["run_eval"], "may use"),
        ("get_feature", {"feature": "fake"}, "feature is wrong"),
        ("get_feature", {"feature": "fake#999"}, "Feature fake#999 does not exist; fake has features 0 to"),
        ("get_trace", {"run": "no-such-run"}, "no-such-run"),
        ("get_trace", {"run": "../x"}, "run is wrong"),
        ("similar_features", {"feature": "fake#0"}, "no decoder directions"),
        ("search_features", {"text": "x", "dictionary": "nowhere"}, "nowhere"),
        ("top_features_for_image", {"dictionary": "fake", "image": "no base64!"}, "not base64"),
        ("top_features_for_image", {"dictionary": "fake", "image": "AAAA"}, "PNG"),
        ("compare_methods", {"evaluation": "none", "a": "x", "b": "y"}, "Evaluation 'none' does not exist"),
        ("no_such_tool", {}, "Tool 'no_such_tool' does not exist; there are name_feature"),
    ],
)
def test_errors_are_one_sentence(service: Service, tool: str, arguments: Any, sentence: str) -> None:
    told = talk(build_mcp(service, local=True), lambda client: call(client, tool, **arguments))
    assert told.error is not None and sentence in told.error and "\n" not in told.error
    assert len(told.content) == 1 and "Traceback" not in told.error and len(told.error) < 500


@pytest.mark.parametrize(
    "uri",
    [
        "namesae://feature/fake/0",
        "namesae://feature/fake/x",
        "namesae://run/none",
        f"namesae://image/{'0' * 64}",
        "namesae://image/..%2F..%2Fetc%2Fpasswd",
        "namesae://eval/none",
        "namesae://nothing",
        "file:///etc/passwd",
    ],
)
def test_what_is_not_there_cannot_be_read(service: Service, uri: str) -> None:
    told = talk(build_mcp(service, local=True), lambda client: refusal(client, uri))
    assert told and "\n" not in told and "root:" not in told and len(told) < 500


async def refusal(client: Client, uri: str) -> str:
    """Why a resource cannot be read."""
    try:
        await client.read_resource(uri)
    except MCPError as error:
        return str(error)
    raise AssertionError(f"{uri} could be read")


def test_money_and_images_cannot_be_spent_without_a_budget(service: Service) -> None:
    async def tools(client: Client) -> Any:
        return (await client.list_tools()).tools

    listed = {tool.name: tool for tool in talk(build_mcp(service, local=True), tools)}
    assert set(listed) == set(SCOPES) == set(ARGUMENTS)
    spending = {name for name, scope in SCOPES.items() if scope != "read"}
    assert spending == {"name_feature", "run_eval"}
    for name, tool in listed.items():
        assert tool.output_schema is not None and tool.description and tool.annotations is not None
        assert tool.annotations.read_only_hint is (name not in spending)
        required = set(tool.input_schema["required"])
        assert ({"max_images", "cost_limit"} <= required) == (name in spending)


def test_an_evaluation_is_granted_what_it_may_use_or_is_not_begun(service: Service) -> None:
    order = EvalOrder(suite="sandbox-quick", conditions=("agent", "cosine"))
    bound = bound_of(order, service)
    assert bound == Bound(cells=24, images=24 * 76, usd=0.0)
    paid = order.model_copy(update={"proposer": "openai"})
    assert bound_of(paid, service).usd == pytest.approx(2.4)
    require_budget(order, service, max_images=24 * 76, cost_limit=0)
    with pytest.raises(BudgetError, match="1,824 images"):
        require_budget(order, service, max_images=24 * 76 - 1, cost_limit=0)
    with pytest.raises(BudgetError, match=r"\$2\.40"):
        require_budget(paid, service, max_images=100_000, cost_limit=2)
    told = talk(
        build_mcp(service, local=True),
        lambda client: call(
            client,
            "run_eval",
            suite="sandbox-quick",
            max_images=2000,
            cost_limit=0,
            conditions=["agent", "cosine"],
        ),
    )
    assert told.error is None and (told.answer["id"], told.answer["state"]) == ("sandbox-quick", "queued")
    (job,) = service.evaluations.list()
    assert (job.suite, job.who) == ("sandbox-quick", "local")


def test_pictures_are_base64_bare_or_as_a_data_url() -> None:
    sent = base64.b64encode(PNG).decode()
    assert decoded(sent) == decoded(f"data:image/png;base64,{sent}") == PNG
    for wrong in ("data:text/html;base64,AAAA", "data:image/png,AAAA", "http://host/x.png", "A"):
        with pytest.raises(UsageError):
            decoded(wrong)
    with pytest.raises(UsageError, match="at most"):
        decoded(base64.b64encode(bytes(MOST_IMAGE + 1)).decode())


def test_making_a_server_leaves_the_logging_of_the_process_alone(service: Service) -> None:
    root = logging.getLogger()
    held, level = list(root.handlers), root.level
    build_mcp(service)
    assert (root.handlers, root.level) == (held, level)


def test_a_server_that_was_not_said_to_be_local_lets_nobody_in(service: Service) -> None:
    told = talk(build_mcp(service), lambda client: call(client, "get_feature", feature="fake#0"))
    assert told.error is not None and "needs a token" in told.error
    read = talk(build_mcp(service), lambda client: refusal(client, "namesae://dictionaries"))
    assert "needs a token" in read


# Over standard streams


@pytest.fixture
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    monkeypatch.setenv("NAMESAE_PROPOSER", "lexical")


@pytest.mark.slow
def test_a_program_names_a_feature_over_standard_streams_with_a_worker_of_the_servers_own(
    planted: None,
) -> None:
    check_naming(*talk(as_child(), named_and_traced))


@pytest.mark.slow
def test_standard_output_holds_the_protocol_alone(planted: None) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    ask = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}
    ask |= {"params": {"name": "get_feature", "arguments": {"feature": "fake#0"}}}
    child = as_child("--no-worker")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [child.command, *child.args], env=child.env, text=True, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        replies = []
        for said in ((hello,), (ready, ask)):
            process.stdin.writelines(f"{json.dumps(each)}\n" for each in said)
            process.stdin.flush()
            replies.append(json.loads(process.stdout.readline()))
        # The end of its input is the end of the server.
        rest, errors = process.communicate(timeout=60)
    assert [each["id"] for each in replies] == [1, 2] and {each["jsonrpc"] for each in replies} == {"2.0"}
    assert replies[0]["result"]["serverInfo"]["name"] == "namesae"
    assert "structuredContent" in replies[1].get("result", {}), replies[1]
    assert replies[1]["result"]["structuredContent"]["feature"] == "fake#0"
    assert (process.returncode, rest, errors) == (0, "", "")


def test_the_command_loads_nothing_until_it_is_called() -> None:
    probe = "import sys, namesae.cli_mcp; sys.exit(bool({'mcp', 'pydantic', 'fastapi'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT).returncode == 0
