"""The smallest app that shows what a process is told by the platform."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    process = os.environ.get("PAAS_PROCESS", "somewhere")
    release = os.environ.get("PAAS_RELEASE", "no release")
    greeting = os.environ.get("GREETING", "Hello")
    return f"{greeting} from {process} of {release}\n"
