"""The typed tools over one dictionary: ask mode calls them, and so can anyone's LangChain graph.

A tool reads the probe set, the control set and the bank's prompts, or draws with the search's seeds. None
reads a sealed picture, and none writes: not a name, not the bank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from agent import tool_results as results
from agent.tool_arguments import ExemplarBand, OfFeature, PromptPair, PromptsToDraw, TopOfBank
from agent.tool_drawing import compare_pair, draw_and_score
from agent.tool_kit import FeatureKit, RefusedCall
from agent.tool_reading import bank_prompts, control_rate, neighbours, show_exemplars, show_facts, show_name
from sae.feature import Frozen

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["TOOLS", "FeatureKit", "RefusedCall", "Tool", "call_tool", "langchain_tools"]


class Tool(NamedTuple):
    """One tool: what an LLM is told of it, what it takes, what it does."""

    does: str
    takes: type[Frozen]
    run: Callable[[FeatureKit, Any], Frozen]


TOOLS: dict[str, Tool] = {
    "show_facts": Tool(
        "What is known of a feature before any drawing: how often it is active, the words its exemplars "
        "show, the words nearest its direction, its neighbours.",
        OfFeature,
        show_facts,
    ),
    "show_exemplars": Tool(
        "Probe pictures between two quantiles of the feature's activation, strongest first.",
        ExemplarBand,
        show_exemplars,
    ),
    "draw_and_score": Tool(
        "Draw image prompts and measure the feature on each picture. Costs images. All prompts share "
        "their seeds, so they can be compared.",
        PromptsToDraw,
        draw_and_score,
    ),
    "compare_pair": Tool(
        "Draw two prompts that differ in one thing, on the same seeds, and measure the difference with "
        "its interval. Costs images: the sharpest test of one cause.",
        PromptPair,
        compare_pair,
    ),
    "control_rate": Tool(
        "How often the feature fires on a fixed set of ordinary pictures: what to hold a drawn rate "
        "against. Costs no images.",
        OfFeature,
        control_rate,
    ),
    "bank_prompts": Tool(
        "Prompts of earlier runs whose pictures fired the feature. Costs no images.", TopOfBank, bank_prompts
    ),
    "neighbours": Tool(
        "Features of a similar direction and their stored names. Costs no images.", OfFeature, neighbours
    ),
    "show_name": Tool(
        "The latest stored name of a feature and the figures it was judged by. Costs no images.",
        OfFeature,
        show_name,
    ),
}


def call_tool(kit: FeatureKit, name: str, arguments: dict[str, Any] | str) -> Frozen:
    """The result of a tool by name, its arguments an object or its JSON. RefusedCall says what is wrong."""
    if name not in TOOLS:
        raise RefusedCall(f"There is no tool {name[:60]!r}; there are {', '.join(TOOLS)}.")
    tool = TOOLS[name]
    try:
        asked = (
            tool.takes.model_validate_json(arguments)
            if isinstance(arguments, str)
            else tool.takes.model_validate(arguments)
        )
    except ValidationError as error:
        raise RefusedCall(f"The arguments of {name} are wrong: {first_fault(error)}.") from None
    with kit.at_work():
        return tool.run(kit, asked)


def langchain_tools(kit: FeatureKit) -> list[BaseTool]:
    """The kit's tools for anyone's agent: content is JSON for an LLM, the artifact the typed result.

    A refused call, and arguments that do not fit, come back as messages of status 'error'. Picture ids stand
    for ``kit.catalogue.pictures[id].image`` in the image store; the budget is the kit's purse.
    """
    from langchain_core.tools import StructuredTool, ToolException

    def made(name: str, tool: Tool) -> BaseTool:
        def run(**arguments: Any) -> tuple[str, Frozen]:
            try:
                # Arguments come validated, nested models and all: the kit reads plain values.
                result = call_tool(kit, name, tool.takes.model_validate(arguments).model_dump())
            except RefusedCall as refused:
                raise ToolException(str(refused)) from refused
            return results.told(result), result

        return StructuredTool.from_function(
            run,
            name=name,
            description=tool.does,
            args_schema=tool.takes,
            response_format="content_and_artifact",
            handle_tool_error=True,
            handle_validation_error=True,
        )

    return [made(name, tool) for name, tool in TOOLS.items()]


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, without the value that was given."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    reason = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}" if where else reason
