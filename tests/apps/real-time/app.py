"""What browsers do besides pages: WebSocket echo, server-sent events, large uploads and downloads."""

import asyncio
import hashlib
import os

from aiohttp import WSMsgType, web

BLOCK = bytes(range(256)) * 256


async def page(request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>real time</title>ready", content_type="text/html")


async def echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def events(request: web.Request) -> web.StreamResponse:
    """`?count=N` events, `?pause=S` seconds between them."""
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await answer.prepare(request)
    for number in range(int(request.query.get("count", 5))):
        await answer.write(f"id: {number}\ndata: tick {number}\n\n".encode())
        await asyncio.sleep(float(request.query.get("pause", 0.05)))
    return answer


async def upload(request: web.Request) -> web.Response:
    digest, size = hashlib.sha256(), 0
    async for block in request.content.iter_any():
        digest.update(block)
        size += len(block)
    return web.json_response(
        {"size": size, "sha256": digest.hexdigest(), "protocol": request.headers["X-Forwarded-Proto"]}
    )


async def download(request: web.Request) -> web.StreamResponse:
    """`?blocks=N` of 64 KiB; `?chunked=1` without a length; `?pause=S` between blocks."""
    blocks = int(request.query.get("blocks", 160))
    answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    if "chunked" in request.query:
        answer.enable_chunked_encoding()
    else:
        answer.content_length = blocks * len(BLOCK)
    await answer.prepare(request)
    for _ in range(blocks):
        await answer.write(BLOCK)
        if "pause" in request.query:
            await asyncio.sleep(float(request.query["pause"]))
    return answer


app = web.Application(client_max_size=1 << 40)
app.add_routes(
    [
        web.get("/", page),
        web.get("/echo", echo),
        web.get("/events", events),
        web.post("/upload", upload),
        web.get("/download", download),
    ]
)
web.run_app(app, port=int(os.environ["PORT"]), print=None)
