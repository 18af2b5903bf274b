"""Read the outputs of modules inside a forward pass. Hooks never outlive the pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

Result = TypeVar("Result")


class _Enough(Exception):
    """Every output asked for is there: the rest of the pass is not needed."""


def capture(
    modules: Mapping[str, nn.Module], forward: Callable[[], Result], *, stop_early: bool = False
) -> tuple[dict[str, Tensor], Result | None]:
    """Run ``forward`` and keep the first output of each module, by the mapping's names.

    With ``stop_early`` the pass ends after the last of them and returns None as its result.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            # A copy: the next module may work in place.
            found.setdefault(name, _first_tensor(output).clone())
            if stop_early and len(found) == len(modules):
                raise _Enough

        return hook

    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(keep(name)))
        return found, forward()
    except _Enough:
        return found, None
    finally:
        for handle in handles:
            handle.remove()


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """The stack of blocks of a vision model: of all lists of modules of one class, the one with most weights.

    So blocks are found whatever a library or its version calls the path to them.
    """
    stacks = [list(module.children()) for module in model.modules() if _is_stack(module)]
    return max(stacks, key=lambda stack: sum(map(_weights, stack)), default=[])


def _is_stack(module: nn.Module) -> bool:
    lists = isinstance(module, nn.ModuleList | nn.Sequential)
    return lists and len({type(child) for child in module.children()}) == 1


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _first_tensor(output: Any) -> Tensor:
    """A module's output as a tensor: some versions of some libraries return tuples or mappings around it."""
    if isinstance(output, Tensor):
        return output
    parts: Iterator[Any] = iter(output.values() if isinstance(output, Mapping) else output)
    return next(part for part in parts if isinstance(part, Tensor))


def as_tokens(output: Tensor, *, tokens_first: bool = False, channels_last: bool = False) -> Tensor:
    """A block's output as (b, p, d): from (b, p, d), (p, b, d), maps (b, d, h, w) or (b, h, w, d).

    (b, d) stays as it is.
    """
    if output.ndim == 4:
        return output.flatten(1, 2) if channels_last else output.flatten(2).transpose(1, 2)
    return output.transpose(0, 1) if output.ndim == 3 and tokens_first else output
