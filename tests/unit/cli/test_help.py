"""Help is quick: it loads nothing that only work needs. Every command can speak JSON."""

from __future__ import annotations

import json
import subprocess
import sys

from docs import generate

HEAVY = (
    "celery",
    "kombu",
    "sqlalchemy",
    "alembic",
    "lxml",
    "httpx2",
    "pydantic_settings",
    "redis",
    "psycopg",
    "connector",
    "contracts",
)


def test_help_loads_nothing_that_only_work_needs() -> None:
    code = (
        "import json, sys\n"
        "sys.argv = ['oaerp', '--help']\n"
        "from workers.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    code = end.code\n"
        "print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]), file=sys.stderr)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    code_, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code_ == 0
    assert "Usage: oaerp" in done.stdout
    assert not set(HEAVY) & set(loaded)


def test_every_command_has_json() -> None:
    for command in generate.commands():
        if not command.is_group:
            assert "--json" in {option for parameter in command.node.params for option in parameter.opts}, command.path
