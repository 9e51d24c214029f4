"""The settings in force, for people: each with its value, without secrets, and where it comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from connector.settings import Settings
from workers.shown import SECRET_NAME, without_secrets


def settings_rows(settings: Settings) -> list[tuple[str, str, str]]:
    """Every setting: its dotted name, its value (secrets masked), and where it comes from."""
    rows: list[tuple[str, str, str]] = []
    _flatten(settings, "", rows)
    defaults: list[tuple[str, str, str]] = []
    _flatten(Settings.model_construct(), "", defaults)
    known = {name: value for name, value, _ in defaults}
    return [(name, value, _origin(name, value, known.get(name))) for name, value, _ in rows]


def _origin(name: str, value: str, default: str | None) -> str:
    variable = "OAERP_" + name.upper().replace(".", "__")
    given = {known.upper() for known in os.environ}
    # A list or a section may be given whole, as JSON in the variable of its first name.
    if variable in given or variable.partition("__")[0] in given:
        return "environment"
    return "default" if value == default else "file or option"


def _flatten(value: Any, name: str, rows: list[tuple[str, str, str]]) -> None:
    if isinstance(value, BaseModel):
        for field in type(value).model_fields:
            _flatten(getattr(value, field), f"{name}.{field}" if name else field, rows)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for at, item in enumerate(value):
            _flatten(item, f"{name}.{at}", rows)
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            _flatten("***" if SECRET_NAME.search(key) else item, f"{name}.{key}", rows)
    else:
        rows.append((name, _shown(value), ""))


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr) or (isinstance(value, tuple) and value and isinstance(value[0], SecretStr)):
        return "***"
    if value is None or value == ():
        return ""
    if isinstance(value, Path):
        return value.as_posix()
    return without_secrets(str(value))
