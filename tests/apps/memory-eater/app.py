"""Answers; GET /eat takes memory until the kernel intervenes."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEPT = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        while self.path == "/eat":
            KEPT.append(os.urandom(1 << 24))
        body = b"hungry\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if os.environ.get("EAT_AT_BOOT"):
    while True:
        KEPT.append(os.urandom(1 << 24))
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
