"""Child processes of a test: their logs are kept, they may be stopped, continued or killed, and they end with the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.real import ROOT

OAERP = (sys.executable, "-m", "workers.run")


class Child:
    """One process and its log."""

    def __init__(self, command: tuple[str, ...], log: Path, env: Mapping[str, str]) -> None:
        self.command, self._log = command, log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, env={**os.environ, **env}, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Stays the same for the life of the process."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """False once it ended, however it did."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace")

    def terminate(self, within_s: float = 30) -> int:
        """Asks it to end, and gives its exit code; fails where it does not end in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{' '.join(self.command)} did not end within {within_s} s: {self.log[-2000:]}"
            ) from None

    def kill(self) -> None:
        """Ends it, and what it started, without a word of warning."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """It stands still, as in a long garbage collection or a frozen virtual machine."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)


class Processes:
    """Starts children and ends them all."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder, self.env = folder, dict(env or {})
        self.children: list[Child] = []

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> Child:
        """Runs a command in the repository's folder."""
        log = self.folder / f"{len(self.children):02}-{Path(command[-1]).name}.log"
        child = Child(command, log, {**self.env, **(env or {})})
        self.children.append(child)
        return child

    def oaerp(self, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        """Runs `oaerp ARGUMENTS`."""
        return self.start(*OAERP, *arguments, env=env)

    def logs(self) -> str:
        """The ends of all logs, for a test that failed."""
        return "\n".join(f"== {' '.join(child.command)}\n{child.log[-2000:]}" for child in self.children)

    def close(self) -> None:
        """Kills what still runs."""
        for child in self.children:
            child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
