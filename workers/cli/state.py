"""What every part of the command line knows: the options before the command, and the exit codes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from workers.cli.texts import Lang

# Exit codes, the same for every command (docs/reference/commands).
OK, FINDINGS, USAGE, CONFIGURATION, AWAY, NOT_PERMITTED, PARTLY, CONFLICT = range(8)
BUG, INTERRUPTED = 70, 130


@dataclass(slots=True)
class State:
    """The options before the command."""

    home: Path | None = None
    config: Path | None = None
    lang: Lang | None = None
    debug: bool = False

    @property
    def language(self) -> Lang:
        """Of messages: the option, else $OAERP_LANG, else the locale's."""
        if self.lang is not None:
            return self.lang
        named = os.environ.get("OAERP_LANG") or os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
        return "zh" if named.lower().startswith("zh") else "en"


STATE = State()
