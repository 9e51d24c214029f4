"""A TCP proxy that can play a network: pass, lose everything without a word (half open), delay, or reset."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Literal, Self

Mode = Literal["pass", "half_open", "reset"]


class Proxy:
    """Listens on loopback and forwards to a target. `mode` may change at any time and counts for open connections."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.mode: Mode = "pass"
        self.accepted = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._ready.wait(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(self._server.wait_closed())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        out: asyncio.StreamWriter | None = None
        try:
            back, out = await asyncio.open_connection(*self._target)
            await asyncio.gather(self._pump(reader, out), self._pump(back, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, out):
                if end is not None:
                    end.close()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.mode == "reset":
                writer.transport.abort()
                return
            if self.mode == "half_open":
                continue  # swallowed: neither side learns anything
            writer.write(data)
            await writer.drain()
        if self.mode != "half_open":
            writer.close()

    def close(self) -> None:
        """Ends everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
