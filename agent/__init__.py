"""How a name is found: state, prompts, proposers, graph, budget, verdict, events, runs.

Checkpoints are read strictly: only types the graph's state declares are rebuilt.
"""

import os

# langgraph reads this once, when it is first imported.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
