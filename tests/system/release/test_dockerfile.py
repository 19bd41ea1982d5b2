"""An app with a Dockerfile, pushed: the image says what runs, as whom and where it listens; a change of the code is quick."""

from __future__ import annotations

import re

import pytest
from harness.platform import Platform, commit

pytestmark = pytest.mark.long

FILES = {
    "Dockerfile": """FROM debian-12
WORKDIR /srv/app
RUN python3 -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
RUN useradd --system web && install -d -o web /srv/data
COPY . .
USER web
EXPOSE 8123
CMD ["gunicorn", "--bind", "0.0.0.0:8123", "app:app"]
""",
    "requirements.txt": "flask\ngunicorn\n",
    "app.py": """import getpass, os, flask
app = flask.Flask(__name__)
@app.get("/")
def home():
    open("/srv/data/seen", "a").write("x")
    caps = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapBnd")]
    return f"one {getpass.getuser()} {os.getcwd()} {os.environ['PORT']} {caps[0]}"
""",
}


def test_a_flask_app_with_a_dockerfile_is_served_and_a_change_of_its_code_installs_nothing(
    platform: Platform,
) -> None:
    platform.paas("create", "dockered")
    platform.paas("builds:set", "builder=dockerfile", "-a", "dockered")
    repository = platform.repository(FILES, "dockered")
    first = platform.push(repository, "dockered")
    assert first.returncode == 0, first.stdout
    assert "-----> Dockerfile app detected (Dockerfile)" in first.stdout
    assert platform.get("dockered").text == "one web /srv/app 8123 0000000000000000"
    commit(repository, "two", **{"app.py": FILES["app.py"].replace("one ", "two ")})
    second = platform.push(repository, "dockered")
    told = [line.strip() for line in re.findall("-----> .*", second.stdout)]
    again = [line.split()[1] for line in told if "Dockerfile line" in line and "reused" not in line]
    assert again == ["COPY"]
    assert platform.get("dockered").text.startswith("two web /srv/app 8123 ")
    ran = platform.paas("run", "-a", "dockered", "--", "id", "-un").stdout
    assert ran.strip().endswith("web")
    assert platform.json("builds:get", "-a", "dockered") == {"builder": "dockerfile"}


def test_a_procfile_runs_through_the_entrypoint_and_root_has_no_power(platform: Platform) -> None:
    platform.paas("create", "entered")
    files = {
        "Dockerfile": """FROM debian-12
COPY start.sh /start
COPY serve.py /srv/serve.py
ENTRYPOINT ["/start"]
CMD ["never"]
""",
        "start.sh": '#!/bin/sh\nexport ENTERED="as $(id -u)"\nexec "$@"\n',
        "serve.py": """import http.server, os
class Home(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        caps = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")]
        try: os.chown("/srv", 7, 7)
        except PermissionError: caps.append("no chown")
        self.send_response(200); self.end_headers()
        self.wfile.write(f"{os.environ['ENTERED']} {' '.join(caps)}".encode())
http.server.HTTPServer(("", int(os.environ["PORT"])), Home).serve_forever()
""",
        "Procfile": "web: exec python3 /srv/serve.py\nworker: echo $ENTERED works; sleep 1000\n",
    }
    repository = platform.repository(files, "entered")
    (repository / "start.sh").chmod(0o755)
    commit(repository, "Executable")
    done = platform.push(repository, "entered")
    assert done.returncode == 0, done.stdout
    assert platform.get("entered").text == "as 0 0000000000000000 no chown"
    processes = platform.json("releases:info", "-a", "entered")["processes"]
    assert processes["worker"] == "/start /bin/sh -c 'echo $ENTERED works; sleep 1000'"
