"""The command line `oaerp`: data on stdout, messages on stderr, `--json` for machines, no traceback for what can be expected."""

from __future__ import annotations


def main() -> None:
    """The entry point of the command `oaerp`."""
    from workers.cli.base import run

    run()
