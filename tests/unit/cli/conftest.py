"""The command line in this process: a clean environment, an own home, and what came out of it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from connector.bootstrap import open_runtime
from connector.channels import Message
from connector.settings import load
from connector.translate import load_book
from workers.cli import base
from workers.cli.state import STATE

HOME = Path("home")


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def values(self) -> list[Any]:
        """The JSON values on stdout, one a line; an indented object is one, too."""
        try:
            return [json.loads(line) for line in self.out.splitlines()]
        except ValueError:
            return [json.loads(self.out)]


@dataclass(frozen=True)
class Cli:
    """Types commands in `home`, and lets events arrive there without any process."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *arguments: str) -> Ran:
        """Runs `oaerp ARGUMENTS`."""
        STATE.home = STATE.config = STATE.lang = None
        STATE.debug = False
        self.monkeypatch.setattr(sys, "argv", ["oaerp", *arguments])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            base.run()
        out, err = self.capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, out, err)

    def at_home(self, *arguments: str) -> Ran:
        """The same with `--home home`."""
        return self("--home", str(HOME), *arguments)

    def arrive(self, *events: dict[str, Any] | bytes) -> None:
        """Events that a worker decides about."""
        bodies = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        self._in_runtime(lambda runtime: runtime.apply_batch([Message(body) for body in bodies]))

    def own_book(self) -> Path:
        """Gives the home a copy of the starter book, to be changed by a test; its folder."""
        book = HOME / "book"
        book.mkdir()
        for name, content in load_book().files.items():
            (book / name).write_bytes(content)
        settings = HOME / "oaerp.yaml"
        settings.write_text(f"{settings.read_text()}book: {book}\n")
        return book

    def deliver(self) -> None:
        """What is due goes to the ERP."""
        self._in_runtime(lambda runtime: runtime.deliver_due("C01"))

    def sql(self, statement: str) -> Sequence[Any]:
        """Rows of the home's ledger, or a change in it."""

        def run(runtime: Any) -> Sequence[Any]:
            with runtime.ledger.begin() as tx:
                done = tx.exec_driver_sql(statement)
                return list(done) if done.returns_rows else []

        return self._in_runtime(run)  # type: ignore[no-any-return]

    def _in_runtime(self, work: Callable[[Any], Any]) -> Any:
        settings = load(HOME / "oaerp.yaml").model_copy(update={"home": HOME})
        runtime = open_runtime(settings)
        try:
            runtime.ledger.upgrade()
            return work(runtime)
        finally:
            runtime.close()


@pytest.fixture
def oaerp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    for name in list(os.environ):
        if name.startswith("OAERP_") or name in ("LANG", "LC_ALL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OAERP_ACTOR", "wang")
    monkeypatch.chdir(tmp_path)
    HOME.mkdir()
    (HOME / "oaerp.yaml").write_text("erp: [{adapter: file, company: C01, options: {path: home/erp}}]\n")
    root = logging.getLogger()
    before = list(root.handlers), root.level
    yield Cli(capsys, monkeypatch)
    root.handlers, root.level = before  # a command sends logs to this test's stderr, which is gone afterwards
    structlog.reset_defaults()
    STATE.home = STATE.config = STATE.lang = None
    STATE.debug = False
