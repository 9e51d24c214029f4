"""The real `oaerp`, typed in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from connector.ledger import Ledger
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
OAERP = str(Path(sys.executable).parent / "oaerp")
STOP_S = 120


class Terminal:
    """A folder, an environment without settings of the machine's, and commands typed there."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OAERP_")}
        # Any free port: another test, or another user of this machine, may have the usual one.
        self.env = clean | {"OAERP_GATEWAY__PORT": "0", "OAERP_LANG": "en"} | (env or {})
        self._children: list[subprocess.Popen[str]] = []

    def close(self) -> None:
        """Ends what a test that failed left running."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
                child.communicate()

    def type(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs `oaerp ARGUMENTS` to its end, with nobody at the keyboard."""
        return subprocess.run(
            [OAERP, *arguments],
            cwd=self.folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def start(self, *arguments: str, log: Path | None = None) -> subprocess.Popen[str]:
        """Starts `oaerp ARGUMENTS`; what it says can be read from it, or stands in `log`."""
        with ExitStack() as files:
            out = err = subprocess.PIPE
            if log is not None:
                out = err = files.enter_context(log.open("ab")).fileno()
            child = subprocess.Popen(
                [OAERP, *arguments],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
            )
        self._children.append(child)
        return child

    @contextmanager
    def up(self, home: str) -> Iterator[Callable[[Callable[[], object]], None]]:
        """`oaerp up` runs while the block does, and ends well when it is asked to; gives a way to wait for something."""
        log = self.folder / "up.log"
        child = self.start("--home", home, "up", log=log)
        try:
            yield lambda condition: (until(condition, 120, lambda: log.read_text(errors="replace")[-3000:]), None)[1]
            child.terminate()
            assert child.wait(STOP_S) == 0, log.read_text(errors="replace")[-3000:]
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()

    def query(self, home: str, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the ledger in a home, or of the one that the environment names."""
        ledger = Ledger(self.env.get("OAERP_LEDGER_URL") or f"sqlite:///{self.folder / home / 'ledger.db'}")
        try:
            with ledger.begin() as tx:
                return [tuple(row) for row in tx.execute(text(statement))]
        finally:
            ledger.close()


def lines(out: str) -> list[Any]:
    """The JSON values on stdout, one a line."""
    return [json.loads(line) for line in out.splitlines()]
