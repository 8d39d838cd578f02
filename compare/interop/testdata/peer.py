"""An echo server or client with the package websockets, which obeys as the Go
tests say. See script_test.go for how it is called."""

import asyncio
import json
import pathlib
import ssl
import sys

import websockets
from websockets.extensions import permessage_deflate

SUBPROTOCOL = "interop.example"


def say(*words):
    print(*words, flush=True)


async def pinged(ws, text):
    pong = await ws.ping(text)
    await pong
    await ws.send("pong " + text)


def cut(data, n):
    size = len(data) // n
    return [data[i * size : (i + 1) * size] for i in range(n - 1)] + [data[(n - 1) * size :]]


async def obey(ws, message, tasks):
    words = message.split(" ", 3) if isinstance(message, str) else []
    if len(words) != 4 or words[0] != "do":
        await ws.send(message)
    elif words[1] == "ping":  # the pong has to be read meanwhile
        tasks.add(asyncio.create_task(pinged(ws, words[3])))
    elif words[1] == "fragments":
        await ws.send(cut(words[3], int(words[2])))
    elif words[1] == "close":
        await ws.close(int(words[2]), words[3])


async def echo(ws):
    tasks = set()
    try:
        async for message in ws:
            await obey(ws, message, tasks)
    except websockets.ConnectionClosed:
        pass
    await ws.wait_closed()
    say("ended", ws.close_code, ws.close_reason)


async def lines():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()


async def serve(options):
    async with websockets.serve(echo, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], max_size=None, **options) as server:
        port = server.sockets[0].getsockname()[1]
        say("listening", f"{'wss' if 'ssl' in options else 'ws'}://127.0.0.1:{port}")
        async for _ in lines():
            pass


async def connection(url, options):
    try:
        async with websockets.connect(url, subprotocols=[SUBPROTOCOL], max_size=None, **options) as ws:
            await echo(ws)
    except Exception as e:
        say("failed", "to connect:", repr(e))


async def connect(url, options):
    tasks = set()
    async for _ in lines():
        tasks.add(asyncio.create_task(connection(url, options)))


def tls(pem, is_server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    if is_server:
        context.load_cert_chain(pem)
    else:
        certificate = pathlib.Path(pem).read_text().split("-----BEGIN PRIVATE KEY")[0]
        context.load_verify_locations(cadata=certificate)
    return context


def extension(takeover, window_bits, is_server):
    factory = permessage_deflate.ServerPerMessageDeflateFactory if is_server else permessage_deflate.ClientPerMessageDeflateFactory
    return factory(
        server_no_context_takeover=not takeover,
        client_no_context_takeover=not takeover,
        server_max_window_bits=window_bits,
        client_max_window_bits=window_bits,
    )


def main(config):
    is_server = "url" not in config
    options = {"compression": None}
    if "pem" in config:
        options["ssl"] = tls(config["pem"], is_server)
    if "deflate" in config:
        deflate = config["deflate"]
        options["extensions"] = [extension(deflate["takeover"], deflate["windowBits"], is_server)]
    asyncio.run(serve(options) if is_server else connect(config["url"], options))


main(json.loads(sys.argv[1]))
