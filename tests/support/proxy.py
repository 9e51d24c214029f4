"""A TCP proxy that can play a network: pass, half open, stall, delay, or reset."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Literal, Self

Mode = Literal["pass", "half_open", "stall", "latency", "reset"]
LOOK_S = 0.02


class Proxy:
    """Listens on loopback and forwards to a target. `mode` may change at any time and counts for open connections, too.

    pass: as if it were not there. half_open: both sides may write, nothing arrives, nobody learns anything. stall: nothing
    is read, so that writers come to a halt; what was written arrives later. latency: each piece arrives `latency_s` late.
    reset: open connections are torn down at once, new ones as soon as they are made.
    """

    def __init__(self, host: str, port: int, *, latency_s: float = 0.2) -> None:
        self._target = (host, port)
        self._mode: Mode = "pass"
        self.latency_s = latency_s
        self.accepted = 0
        self._lost = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the proxy did not start"

    @property
    def mode(self) -> Mode:
        """What the network does now."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "reset":
            self._loop.call_soon_threadsafe(self._reset)

    def lose(self) -> None:
        """Every connection that is open now stays half open for ever; new ones are as `mode` says."""
        self._lost = self.accepted

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

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
        number = self.accepted
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        self._writers.add(writer)
        try:
            if self._mode == "reset":
                writer.transport.abort()
                return
            back, out = await asyncio.open_connection(*self._target)
            ends.append(out)
            self._writers.add(out)
            await asyncio.gather(self._pump(number, reader, out), self._pump(number, back, writer))
        except (OSError, asyncio.CancelledError):
            pass  # One side went away, or the test is over.
        finally:
            for end in ends:
                end.close()
                self._writers.discard(end)
            self._tasks.discard(task)

    async def _pump(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            while self._mode == "stall":
                await asyncio.sleep(LOOK_S)
            if self._mode == "half_open" or number <= self._lost:
                continue
            if self._mode == "latency":
                await asyncio.sleep(self.latency_s)
            writer.write(data)
            await writer.drain()
        if self._mode != "half_open" and number > self._lost:
            writer.close()

    def close(self) -> None:
        """Ends everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
