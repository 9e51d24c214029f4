"""What is deployed passes the linters of its own kind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


def lint(tool: str, *arguments: object) -> None:
    """Runs a linter of this environment; its findings are the message of a failure."""
    found = Path(sys.executable).parent / tool
    command = str(found) if found.is_file() else shutil.which(tool)
    assert command is not None, f"{tool} is not installed; run make setup"
    done = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_yaml_file_is_written_as_agreed() -> None:
    lint("yamllint", "--strict", "-c", DEPLOY / "yamllint.yaml", DEPLOY)


def test_compose_follows_the_compose_specification() -> None:
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose" / "compose.yaml")


@pytest.mark.skipif(shutil.which("uname") is None or sys.platform != "linux", reason="hadolint comes as a Linux binary")
def test_the_dockerfile_has_no_findings() -> None:
    lint("hadolint", DEPLOY / "docker" / "Dockerfile")


def test_shell_scripts_have_no_findings() -> None:
    lint("shellcheck", ROOT / ".ci" / "run")
