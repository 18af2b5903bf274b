"""Forward passes with something else in the place of an activation, such as its reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sae.errors import WrongTokens
from sae.token_layout import Tokens, span_of

Replace = Callable[[Tensor], Tensor] | Tensor


@dataclass(frozen=True)
class Patch:
    """What takes the place of which tokens at a hook point."""

    hook_point: str
    replace: Replace
    """Selected tokens, in float32 at least, to what takes their place: (b, d) for 'cls' and where there is
    one vector per image, (b, p, d) for 'patch' and 'all'. Or that itself, in any shape that broadcasts."""
    tokens: Tokens = "all"
    """Registers are patched with 'all' only."""
    error_term: bool = False
    """Add x - x̂, held constant: the values stay bit for bit what they were, and gradients reach what comes
    before only through x̂ (the error node of Marks et al., arXiv 2403.19647). To edit codes and keep the
    error, let ``replace`` return x - decode(z) + decode(edited z) instead."""

    def apply(self, held: Tensor, *, n_prefix_tokens: int, has_cls: bool) -> Tensor:
        """(b, p, d) or (b, d) with the selected tokens replaced; the rest is untouched. WrongTokens."""
        if held.ndim == 2 and self.tokens == "all":
            return self._replaced(held)
        start, end = span_of(held, self.tokens, n_prefix_tokens=n_prefix_tokens, has_cls=has_cls)
        if self.tokens == "cls":
            new = self._replaced(held[:, 0])[:, None]
        else:
            new = self._replaced(held[:, start:end])
        return torch.cat([held[:, :start], new, held[:, end:]], dim=1)

    def _replaced(self, x: Tensor) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        new = self.replace if isinstance(self.replace, Tensor) else self.replace(x.to(exact))
        try:
            new = new.to(x.device, x.dtype).expand_as(x)
        except RuntimeError as error:
            raise WrongTokens(
                f"The replacement at {self.hook_point!r} has shape {tuple(new.shape)}, the tokens "
                f"{tuple(x.shape)}; return what fits them."
            ) from error
        # Not x̂ + (x - x̂), which rounds.
        return x.detach() + (new - new.detach()) if self.error_term else new
