"""The tutorial is typed as it stands, command by command, and what it says comes out does come out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
STOP_S = 30


class Terminals:
    """The first terminal, and the second one where `oaerp up` runs."""

    def __init__(self, folder: Path, language: str) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OAERP_")}
        # Any free port: another test, or another user of this machine, may have the usual one.
        self.env = clean | {"PATH": path, "OAERP_GATEWAY__PORT": "0", "OAERP_LANG": language}
        self.shown = ""
        self._up: subprocess.Popen[bytes] | None = None

    def type(self, commands: str) -> None:
        """Types a block of commands; what it prints is kept in `shown`."""
        if "Ctrl-C" in commands:
            assert self.stop() == 0
        if re.fullmatch(r"oaerp .* up\n", commands):
            log = (self.folder / "up.log").open("ab")
            with log:
                self._up = subprocess.Popen(commands.split(), cwd=self.folder, env=self.env, stdout=log, stderr=log)
            return
        typed = ["bash", "-euo", "pipefail", "-c", commands]
        done = subprocess.run(typed, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 or is_question(commands), f"{commands}\n{done.stdout}\n{done.stderr}"
        self.shown = " ".join(done.stdout.split())

    def wait_for(self, commands: str, expected: str) -> None:
        """Every line of `expected` stands in what is shown, whatever the blanks. A question is asked again until the
        second terminal has done its work; a deed is done once."""
        lines = [" ".join(line.split()) for line in expected.splitlines()]

        def said() -> bool:
            if all(line in self.shown for line in lines):
                return True
            assert is_question(commands), f"{commands}\n{expected}\nis not in\n{self.shown}"
            self.type(commands)
            return False

        until(said, 60, lambda: f"{expected}\nin\n{self.shown}", every_s=0.3)

    def stop(self) -> int:
        """Ctrl-C in the second terminal; gives the exit code."""
        if self._up is None:
            return 0
        self._up.send_signal(signal.SIGINT)
        code, self._up = self._up.wait(STOP_S), None
        return code


def is_question(commands: str) -> bool:
    """Whether the block only asks, so that its answer may come later."""
    return re.fullmatch(r"oaerp [^\n]*(trace|list)[^\n]*\n", commands) is not None


@pytest.fixture
def terminals(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminals]:
    for name in ("connector", "contracts"):
        (tmp_path / name).symlink_to(ROOT / name)
    made = Terminals(tmp_path, request.param)
    yield made
    made.stop()


@pytest.mark.parametrize("terminals", generate.LANGUAGES, indirect=True)
def test_whoever_types_the_tutorial_sees_what_it_says(terminals: Terminals) -> None:
    page = (ROOT / "docs" / terminals.env["OAERP_LANG"] / "tutorial.md").read_text("utf-8")
    typed = ""

    for kind, block in re.findall(r"^```(sh|text)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        if kind == "text":
            terminals.wait_for(typed, block)
        elif "make setup" not in block:
            typed = block
            terminals.type(typed)
