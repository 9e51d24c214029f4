"""What a reader of a page does: writes the files it names, types its commands in two terminals, and looks at what comes out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.wait import until

STOP_S = 120
_MASKS = (r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d\.\d+)?", r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12}\b", r"\s*…\s*")
_BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```(?P<kind>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)


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

    def follow(self, page: str) -> None:
        """Does what each block of a page says, in their order. Text is what the commands before it print: times and
        fingerprints may be others, and … stands for anything. A block of another kind is a file; the line before it
        names it in backquotes, and after it the line of the file above which it goes, where it is a part of one."""
        typed = ""
        for before, kind, block in _BLOCK.findall(page):
            if kind == "text":
                self.wait_for(typed, block)
            elif kind != "sh":
                self._write(block, *re.findall(r"`([^`]+)`", before))
            elif "make setup" not in block:
                typed = block
                self.type(typed)

    def _write(self, block: str, name: str, above: str | None = None) -> None:
        path = self.folder / name
        lines = path.read_text("utf-8").splitlines(keepends=True) if above else []
        at = next((index for index, line in enumerate(lines) if above and line.startswith(above)), 0)
        assert at or not above, f"no line of {name} begins with {above!r}"
        path.write_text("".join([*lines[:at], block, *lines[at:]]), "utf-8")

    def type(self, commands: str) -> None:
        """Types a block of commands; what it prints is kept in `shown`."""
        if "Ctrl-C" in commands:
            assert self.stop() == 0
        if re.fullmatch(r"oaerp (.* )?up\n", commands):
            log = (self.folder / "up.log").open("ab")
            with log:
                self._up = subprocess.Popen(commands.split(), cwd=self.folder, env=self.env, stdout=log, stderr=log)
            return
        typed = ["bash", "-euo", "pipefail", "-c", commands]
        done = subprocess.run(typed, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0 or is_question(commands), f"{commands}\n{done.stdout}\n{done.stderr}"
        self.shown = " ".join(f"{done.stdout}\n{done.stderr}".split())

    def wait_for(self, commands: str, expected: str) -> None:
        """Every line of `expected` stands in what is shown, whatever the blanks. A question is asked again until the
        second terminal has done its work; a deed is done once."""
        lines = [_pattern(" ".join(line.split())) for line in expected.splitlines()]

        def said() -> bool:
            if all(re.search(line, self.shown) for line in lines):
                return True
            assert is_question(commands), f"{commands}\n{expected}\nis not in\n{self.shown}"
            self.type(commands)
            return False

        until(said, 120, lambda: f"{expected}\nin\n{self.shown}", every_s=0.3)

    def stop(self) -> int:
        """Ctrl-C in the second terminal; gives the exit code."""
        if self._up is None:
            return 0
        self._up.send_signal(signal.SIGINT)
        code, self._up = self._up.wait(STOP_S), None
        return code


def is_question(commands: str) -> bool:
    """Whether the block only asks, so that its answer may come later, and may be a no."""
    return (
        re.fullmatch(r"oaerp [^\n]*(trace|list|diff|explain|preflight)[^\n]*\n|curl .*", commands, re.DOTALL)
        is not None
    )


def _pattern(line: str) -> str:
    """What a line of a page looks like on the screen."""
    parts = re.split("|".join(f"(?:{mask})" for mask in _MASKS), line)
    return ".*?".join(re.escape(part) for part in parts if part is not None)
