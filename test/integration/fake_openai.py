"""An OpenAI server that is not ours, for the tests of `quadrant loadgen`: what it says, when, and in which bytes, is up to the test.

    async def answer(ask):                     # one call a request; ask.body is its JSON
        await ask.begin()                      # status and head
        await ask.event({"choices": [...]})    # a server-sent event
        await ask.finish()
    with FakeServer(answer) as server: ...     # server.url, server.asked
"""
import asyncio
import json
import ssl
import threading


def piece(text, **more):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}


def usage(prompt, completion):
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}}


class Ask:
    """One request, and the ways to answer it."""

    def __init__(self, path, headers, body, writer, cut):
        self.path, self.headers, self.body, self.writer, self.cut = path, headers, body, writer, cut
        self.chunked = self.ended = False

    @property
    def prompt(self):
        return self.body["messages"][0]["content"] if "messages" in self.body else self.body["prompt"]

    async def send(self, data):
        """The bytes, `cut` of them at a time."""
        for at in range(0, len(data), self.cut or len(data)):
            self.writer.write(data[at:at + (self.cut or len(data))])
            await self.writer.drain()
            if self.cut:
                await asyncio.sleep(0)

    async def reply(self, status, body, fields="", kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.send(f"HTTP/1.1 {status} Words\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{fields}\r\n".encode() + data)

    async def begin(self, fields="", chunked=True):
        self.chunked = chunked
        framing = "Transfer-Encoding: chunked" if chunked else "Connection: close"
        await self.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{framing}\r\n{fields}\r\n".encode())

    async def raw(self, data):
        await self.send(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data)

    async def event(self, value, end="\n"):
        await self.raw(f"data: {value if isinstance(value, str) else json.dumps(value)}{end}{end}".encode())

    async def finish(self):
        if self.chunked:
            await self.send(b"0\r\n\r\n")
        else:
            self.hang_up()

    def hang_up(self):
        self.ended = True
        self.writer.close()


class FakeServer:
    def __init__(self, answer, tokenize=False, cut=0, models=({"id": "fake"},), certificate=None):
        self.answer, self.tokenize, self.cut, self.models, self.certificate = answer, tokenize, cut, list(models), certificate
        self.asked = []  # the streamed requests
        self.under_way = self.most_under_way = self.connections = 0

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        tls = None
        if self.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(*self.certificate)
        start = asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls, backlog=4096, limit=1 << 24)
        self.server = asyncio.run_coroutine_threadsafe(start, self.loop).result()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_):
        async def end():
            self.server.close()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for t in tasks:
                t.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in head[1:-2])}
                data = await reader.readexactly(int(headers.get("content-length", 0)))
                ask = Ask(head[0].split(" ")[1], headers, json.loads(data) if data else None, writer, self.cut)
                await self.handle(ask)
                if ask.ended:
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client has gone, or the test
        finally:
            writer.close()

    async def handle(self, ask):
        if ask.path.endswith("/v1/models"):
            return await ask.reply(200, {"object": "list", "data": self.models})
        if ask.path.endswith("/tokenize"):
            if not self.tokenize:
                return await ask.reply(404, {"detail": "Not Found"})
            return await ask.reply(200, {"count": self.count(ask), "tokens": []})
        if not ask.body.get("stream"):
            return await ask.reply(200, {"choices": [], **({"usage": usage(self.count(ask), 1)["usage"]} if self.tokenize is not None else {})})
        self.asked.append(ask)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.answer(ask)
        finally:
            self.under_way -= 1

    @staticmethod
    def count(ask):
        """Two tokens a word, and ten around a chat."""
        return 2 * len(ask.prompt.split()) + (10 if "messages" in ask.body else 0)
