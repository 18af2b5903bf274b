"""The service: what the API, the pages and MCP are made of, over one store."""
