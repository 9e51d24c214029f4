"""What may be shown to people and logs: secrets are left out, and no character moves the cursor or forges a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

SECRET_NAME = re.compile(r"(?i)pass|secret|token|authori[sz]ation|bank_account|signature|(?:^|_)key")
# What a secret looks like inside a text: a URL's password, `password=...`, a bearer token, a webhook key.
_IN_TEXT = re.compile(
    r"(?P<head>://[^/?#\s:@]*:)[^\s@]+(?=@)"
    r"""|(?P<name>(?i:password|passwd|secret|token|api_key|bank_account)["']?\s*[=:]\s*)(?:"[^"]*"|'[^']*'|[^\s"'&#,;)}\]]+)"""
    r"|(?P<scheme>\bBearer\s+)[^\s\"']+"
    r"|(?P<hook>\bwhsec_)[A-Za-z0-9+/=_-]+"
)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def without_secrets(text: str) -> str:
    """The text with everything that looks like a secret as `***`."""
    return _IN_TEXT.sub(lambda found: f"{found[found.lastgroup or 0]}***", text)


def masked(value: Any) -> Any:
    """A value without its secrets, however deep they are in it. The types JSON knows keep their type."""
    match value:
        case str():
            return without_secrets(value)
        case Mapping():
            return {str(name): "***" if SECRET_NAME.search(str(name)) else masked(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [masked(item) for item in value]
        case bool() | int() | None:
            return value
        case _:
            return without_secrets(str(value))


def json_line(value: Any) -> str:
    """The value as JSON on one line, which any terminal and any encoding that knows its letters can show."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
