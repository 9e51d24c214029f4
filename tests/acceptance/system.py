"""The whole system as an operator runs it: `oaerp` processes on a database and a broker, or everything in one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from connector.adapter import Change
from connector.ledger import Ledger
from connector.process.intake import accept
from contracts import parse_event

ROOT = Path(__file__).parents[2]


class System:
    """Processes that share one configuration; all are ended by `close`."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.env = {**os.environ, **env}
        self.folder = folder
        self.ledger = Ledger(env["OAERP_LEDGER_URL"])
        self.ledger.upgrade()
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Starts `oaerp COMMAND`; its log stands in the folder."""
        log = (self.folder / f"{command[0]}-{len(self._children)}.log").open("wb")
        with log:
            child = subprocess.Popen(
                [sys.executable, "-m", "workers.run", *command], env=self.env, cwd=ROOT, stdout=log, stderr=log
            )
        self._children.append(child)
        return child

    def kill(self, child: subprocess.Popen[bytes]) -> None:
        """Ends a process without a word of warning."""
        child.send_signal(signal.SIGKILL)
        child.wait()

    def accept(self, bodies: Sequence[bytes], door: str = "test") -> None:
        """Events come in by the library's door: when this returns they are durable."""
        for start in range(0, len(bodies), 200):
            accept(self.ledger, [Change(parse_event(body), body) for body in bodies[start : start + 200]], door)

    def quiet(self) -> bool:
        """True where nothing is on its way: every event recorded, every posting ended."""
        return (
            self.count(
                "SELECT (SELECT count(*) FROM outbox)"
                " + (SELECT count(*) FROM inbox WHERE outcome IN ('held', 'released'))"
                " + (SELECT count(*) FROM postings WHERE state IN ('PENDING', 'SENDING', 'UNKNOWN'))"
                " + (SELECT count(*) FROM write_backs WHERE state IN ('PENDING', 'SENDING'))"
            )
            == 0
        )

    def count(self, statement: str, **parameters: Any) -> int:
        """One number out of the ledger."""
        with self.ledger.begin() as tx:
            return int(tx.scalar(text(statement), parameters) or 0)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the ledger."""
        with self.ledger.begin() as tx:
            return [tuple(row) for row in tx.execute(text(statement))]

    def logs(self) -> str:
        """Which processes ended, and the ends of all logs, for a test that failed."""
        ended = [f"{child.args} ended with {child.returncode}" for child in self._children if child.poll() is not None]
        return "\n".join(ended) + "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in self.folder.glob("*.log")
        )

    def close(self) -> None:
        """Ends every process, politely first."""
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        for child in self._children:
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.ledger.close()
