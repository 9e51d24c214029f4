"""The systemd units run commands that exist, in order, with as few rights as they can work with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import commands

SYSTEMD = Path(__file__).parents[3] / "deploy" / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
HARDENING = (SYSTEMD / "oaerp-.service.d" / "hardening.conf").read_text("utf-8")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_exists(unit: Path) -> None:
    known = {command.path for command in commands()}

    started = re.findall(r"^ExecStart=/opt/oaerp/bin/(.*)$", unit.read_text("utf-8"), re.MULTILINE)

    assert len(started) == 1
    assert started[0] in known


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "migrate" not in unit.name], ids=lambda unit: unit.name)
def test_a_process_starts_after_the_schema_is_up_to_date(unit: Path) -> None:
    text = unit.read_text("utf-8")

    assert re.search(r"^After=.*oaerp-migrate\.service", text, re.MULTILINE)
    assert re.search(r"^Requires=oaerp-migrate\.service", text, re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_hardening_reaches_every_unit_by_its_name(unit: Path) -> None:
    assert unit.name.startswith("oaerp-")


@pytest.mark.parametrize(
    "line",
    [
        "User=oaerp",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "RestrictNamespaces=yes",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=@system-service",
        "LoadCredential=oaerp.yaml:/etc/oaerp/oaerp.yaml",
    ],
)
def test_a_unit_has_no_right_it_does_not_need(line: str) -> None:
    assert line in HARDENING.splitlines()
