"""Read and change the outputs of modules inside a forward pass. Hooks never outlive the pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any, TypeVar

from torch import Tensor, nn

Result = TypeVar("Result")
Visit = Callable[[str, Tensor], Tensor | None]
"""Name and output of a module to the tensor that takes the output's place, or None to leave it."""


class _Enough(Exception):
    """Every output asked for is there: the rest of the pass is not needed."""


def visit(
    modules: Mapping[str, nn.Module],
    forward: Callable[[], Result],
    *,
    each: Visit,
    stop_early: bool = False,
) -> Result | None:
    """Run ``forward`` and show ``each`` the first output of each module, by the mapping's names.

    Where the output is a tuple or mapping, ``each`` sees and replaces the first tensor of it. With
    ``stop_early`` the pass ends after the last module and None is returned. A pass of the same model in
    another thread sees nothing of it.
    """
    seen: set[str] = set()
    thread = get_ident()

    def shown(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            if name in seen or get_ident() != thread:
                return None
            seen.add(name)
            changed = each(name, first_tensor(output))
            if stop_early and len(seen) == len(modules):
                raise _Enough
            return None if changed is None else _with_tensor(output, changed)

        return hook

    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(shown(name)))
        return forward()
    except _Enough:
        return None
    finally:
        for handle in handles:
            handle.remove()


def capture(
    modules: Mapping[str, nn.Module],
    forward: Callable[[], Result],
    *,
    stop_early: bool = False,
    copied: set[str] | None = None,
) -> tuple[dict[str, Tensor], Result | None]:
    """Run ``forward`` and keep the first output of each module, by the mapping's names.

    Outputs are kept as they are, without a copy. Those that a later module worked over in place are found
    by their version, the pass is repeated with copies of them, and their names are added to ``copied`` for
    the next call.
    """
    copied = set() if copied is None else copied
    found: dict[str, Tensor] = {}
    versions: dict[str, int] = {}

    def keep(name: str, output: Tensor) -> None:
        # Tensors of inference mode have no version to tell by.
        copy = name in copied or output.is_inference()
        found[name] = output.clone() if copy else output
        if not copy:
            versions[name] = output._version

    result = visit(modules, forward, each=keep, stop_early=stop_early)
    overwritten = {name for name, version in versions.items() if found[name]._version != version}
    if not overwritten:
        return found, result
    copied |= overwritten
    return capture(modules, forward, stop_early=stop_early, copied=copied)


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a vision model: of all classes that fill lists of modules, the one with most weights.

    So blocks are found whatever a library or its version calls the path to them, and those of a network
    with several stages come as one sequence, in the order of the stages.
    """
    stacks: dict[type[nn.Module], list[nn.Module]] = {}
    for module in model.modules():
        if _is_stack(module):
            stacks.setdefault(type(next(module.children())), []).extend(module.children())
    return max(stacks.values(), key=lambda stack: sum(map(_weights, stack)), default=[])


def _is_stack(module: nn.Module) -> bool:
    lists = isinstance(module, nn.ModuleList | nn.Sequential)
    return lists and len({type(child) for child in module.children()}) == 1


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def first_tensor(output: Any) -> Tensor:
    """A module's output as a tensor: some versions of some libraries return tuples or mappings around it."""
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output
    return next(part for part in parts if isinstance(part, Tensor))


def _with_tensor(output: Any, tensor: Tensor) -> Any:
    """``output`` with its first tensor replaced, in the same wrapping."""
    if isinstance(output, Tensor):
        return tensor
    first = first_tensor(output)
    if isinstance(output, Mapping):
        parts: Any = {key: tensor if part is first else part for key, part in output.items()}
        return type(output)(**parts)
    parts = [tensor if part is first else part for part in output]
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
