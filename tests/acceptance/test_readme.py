"""What the README shows of the demo is what the demo prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.docs.test_pages import ROOT, blocks


@pytest.mark.parametrize(("readme", "language"), [("README.md", "en"), ("README.zh-CN.md", "zh")])
def test_the_demo_prints_what_the_readme_shows_and_its_next_commands_work(
    readme: str, language: str, tmp_path: Path
) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OAERP_")}

    def oaerp(*arguments: str) -> str:
        command = [str(Path(sys.executable).parent / "oaerp"), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=clean | {"OAERP_LANG": language}, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    printed = oaerp("demo")

    (shown,) = blocks(ROOT / readme, "text")
    for line in shown.replace("…", "\n").splitlines():
        assert " ".join(line.split()) in printed
    for line in blocks(ROOT / readme, "sh")[-1].splitlines():
        assert oaerp(*line.split()[1:])
