"""The web pages of the service: server-rendered, live by HTMX, no build step."""
