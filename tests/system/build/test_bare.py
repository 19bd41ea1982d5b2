"""Apps that say little of themselves: what they are is told from what is there."""

from __future__ import annotations

from harness.builder import BuildPlatform
from harness.serving import serving

PROGRAM = """import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"nothing but Python")
http.server.HTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
"""
C = """#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>
int main() {
  struct sockaddr_in at = {AF_INET, htons(atoi(getenv("PORT")))};
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  bind(listener, (struct sockaddr *)&at, sizeof at);
  listen(listener, 8);
  for (char got[4096];;) {
    int visitor = accept(listener, 0, 0);
    if (read(visitor, got, sizeof got) > 0)
      write(visitor, "HTTP/1.1 200 OK\\r\\ncontent-length: 1\\r\\nconnection: close\\r\\n\\r\\nC", 58);
    close(visitor);
  }
}
"""


def test_a_python_program_alone_is_served(platform: BuildPlatform) -> None:
    app = platform.app("bare")
    with serving(platform, app, platform.build(app, {"page.py": PROGRAM, "README.md": ""})) as get:
        assert get("/").read() == b"nothing but Python"


def test_make_builds_the_program_that_the_procfile_names(platform: BuildPlatform) -> None:
    app = platform.app("made")
    files = {"Makefile": "server: server.c\n\t$(CC) -o $@ $<\n", "server.c": C, "Procfile": "web: ./server\n"}
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"C"
