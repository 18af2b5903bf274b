"""A policy behind an OpenAI-compatible endpoint: python -m benchmarks.policy_server --port 8123.

It reads the messages that any LLM gets and nothing else; it speaks chat.completions with JSON schemas and
streams, as tests/fake_openai_server.py does.
"""

from __future__ import annotations

import argparse

import uvicorn

from benchmarks.policy import Policy, Trust
from tests.fake_openai_server import FakeOpenAI


def server_of(policy: Policy) -> FakeOpenAI:
    """A server that answers with a policy's plans."""
    return FakeOpenAI(policy.answer)


def main() -> None:
    """Serve until interrupted."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--port", type=int, default=8123)
    told.add_argument("--blank", choices=["", "scores", "failures"], default="")
    told.add_argument("--trust", type=float, default=Trust().readings, help="log odds of 1 of F1")
    chosen = told.parse_args()
    policy = Policy(Trust(readings=chosen.trust), blank=chosen.blank)
    print(f"export OPENAI_API_KEY=none OPENAI_BASE_URL=http://127.0.0.1:{chosen.port}/v1", flush=True)
    uvicorn.run(server_of(policy).app(), port=chosen.port, log_level="error", lifespan="off")


if __name__ == "__main__":
    main()
