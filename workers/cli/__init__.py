"""The command line `oaerp`: data on stdout, messages on stderr, `--json` for machines, no traceback for what can be expected."""

from __future__ import annotations

import gc
import os

# Objects made between two collections: importing makes hundreds of thousands and no garbage.
_COLLECT_EVERY = 50_000


def main() -> None:
    """The entry point of the command `oaerp`."""
    gc.set_threshold(_COLLECT_EVERY, 20, 20)
    # No plugin of another package looks into what we validate, and nothing is searched for them at every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from workers.cli.base import run

    run()
