"""The service from Python: every operation of its API, typed, with its failures as NamesaeErrors.

with Client("http://127.0.0.1:8765", token="…") as service:
    run = service.runs.start(NameOrder(feature="sandbox#17"))
    print(service.runs.wait(run.run).name)
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from namesae.client_features import FeatureCalls
from namesae.client_runs import RunCalls
from namesae.client_wire import TIMEOUT_S, Wire
from namesae.client_work import BatchCalls, EvalCalls, ReviewCalls
from namesae.service.api_records import Health, NewToken, TokenList, TokenRequest, WhoAmI
from namesae.service.orders import BatchOrder, EvalOrder, NameOrder
from namesae.service.tokens import Scope, TokenRow

__all__ = ["BatchOrder", "Client", "EvalOrder", "NameOrder"]


class Client:
    """One service. Its parts are those of ``namesae.service.service.Service``."""

    def __init__(
        self, url: str = "http://127.0.0.1:8765", token: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._wire = Wire(httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False))
        self.features = FeatureCalls(self._wire)
        self.runs = RunCalls(self._wire)
        self.batches = BatchCalls(self._wire)
        self.evals = EvalCalls(self._wire)
        self.reviews = ReviewCalls(self._wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._wire.http.close()

    def health(self) -> Health:
        """Whether the service is alive."""
        return self._wire.get(Health, "/healthz")

    def ready(self) -> Health:
        """Whether it can serve; DependencyError where it cannot."""
        return self._wire.get(Health, "/readyz")

    def metrics(self) -> str:
        """Its figures, as Prometheus reads them."""
        return self._wire.text("/metrics")

    def me(self) -> WhoAmI:
        """Who the token stands for."""
        return self._wire.get(WhoAmI, "/me")

    def tokens(self) -> tuple[TokenRow, ...]:
        """All tokens, without their secrets."""
        return self._wire.get(TokenList, "/tokens").tokens

    def token(self, name: str) -> TokenRow:
        """One token; NotFound."""
        return self._wire.get(TokenRow, f"/tokens/{name}")

    def issue_token(self, name: str, scope: Scope = "read", *, days: float | None = None) -> NewToken:
        """Make a token; Conflict where the name is taken."""
        return self._wire.post(NewToken, "/tokens", TokenRequest(name=name, scope=scope, days=days))

    def revoke_token(self, name: str) -> None:
        """Make a token worthless; NotFound."""
        self._wire.request("DELETE", f"/tokens/{name}")
