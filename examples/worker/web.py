"""The web process: answers, and tells what the release phase left in the environment of the platform."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index() -> str:
    return f"web {os.environ.get('PAAS_PROCESS')} of {os.environ.get('PAAS_RELEASE')}\n"
