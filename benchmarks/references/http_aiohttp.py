"""The four stages in aiohttp handlers by hand: one payment a request, or lines of them; 202 once they are processed."""

from __future__ import annotations

import os

import msgspec
from aiohttp import web

from benchmarks.stages import classify, decide, in_euros, score
from penstock.pipeline.serving.run import on_loop


def main() -> None:
    """Serve until a signal comes."""
    decode = msgspec.json.Decoder(dict).decode

    async def one(request: web.Request) -> web.Response:
        decide(score(classify(in_euros(decode(await request.read())))))
        return web.Response(status=202)

    async def lines(request: web.Request) -> web.Response:
        for line in (await request.read()).split(b"\n"):
            if line:
                decide(score(classify(in_euros(decode(line)))))
        return web.Response(status=202)

    async def payments(request: web.Request) -> web.Response:
        return await (lines if request.content_type == "application/x-ndjson" else one)(request)

    async def serve() -> None:
        import asyncio
        import signal

        application = web.Application(client_max_size=4_000_000)
        application.router.add_post("/payments", payments)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        host, _, port = os.environ["PENSTOCK_HTTP_LISTEN"].rpartition(":")
        await web.TCPSite(runner, host, int(port)).start()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        print("ready", flush=True)
        await stopped.wait()
        await runner.cleanup()

    on_loop(serve())


if __name__ == "__main__":
    main()
