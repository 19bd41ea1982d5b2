"""Python programs that serve themselves: how each framework without a WSGI or ASGI object is started. Pure."""

from __future__ import annotations

from collections.abc import Iterable

_COMMANDS = {
    "streamlit": "streamlit run {} --server.address 0.0.0.0 --server.port $PORT --server.headless true --browser.gatherUsageStats false",
    "gradio": "env GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=$PORT python {}",
    "panel": "panel serve {} --address 0.0.0.0 --port $PORT --allow-websocket-origin '*'",
    "bokeh": "bokeh serve {} --address 0.0.0.0 --port $PORT --allow-websocket-origin '*'",
    "chainlit": "chainlit run {} --host 0.0.0.0 --port $PORT --headless",
    "marimo": "marimo run {} --host 0.0.0.0 --port $PORT --headless",
    "shiny": "shiny run {} --host 0.0.0.0 --port $PORT",
    "solara": "solara run {} --host 0.0.0.0 --port $PORT --production",
    "robyn": "env ROBYN_HOST=0.0.0.0 ROBYN_PORT=$PORT python {}",
}
"""By the top module that the program imports; of several the first counts. Where they listen is what their manuals say."""
STEMS = ("streamlit_app", "Home", "dashboard", "sketch")
"""How such programs are called, besides the names that other apps have."""


def command_for(path: str, modules: Iterable[str]) -> str:
    """What starts the program at `path`, which imports these top modules; empty when none of them says it."""
    there = set(modules)
    return next((text.format(path) for name, text in _COMMANDS.items() if name in there), "")
