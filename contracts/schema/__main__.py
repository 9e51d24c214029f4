"""Writes the schema files; `--check` says whether they are fresh, `--compare OLD_DIR` whether anything broke since then."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from contracts.schema.compare import breaking_changes
from contracts.schema.generate import BASELINE, HERE, schema_files


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 all well, 1 stale files or a breaking change, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m contracts.schema", description=__doc__)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="exit 1 when a committed file is not what the models give")
    action.add_argument(
        "--compare",
        metavar="OLD_DIR",
        type=Path,
        help="exit 1 and list what breaks readers or writers of the old files",
    )
    action.add_argument(
        "--release", action="store_true", help="make the present JSON Schemas the baseline of the next comparison"
    )
    chosen = parser.parse_args(arguments)
    files = schema_files()
    if chosen.check:
        return _check(files)
    if chosen.compare is not None:
        return _compare(chosen.compare, files)
    for name, text in files.items():
        _write(HERE / name, text)
        if chosen.release and name.endswith(".json"):
            _write(BASELINE / name, text)
    return 0


def _check(files: dict[str, str]) -> int:
    stale = [
        name for name, text in files.items() if not (HERE / name).is_file() or (HERE / name).read_text("utf-8") != text
    ]
    present = {path.name for pattern in ("*.json", "*.xsd", "asyncapi.yaml") for path in HERE.glob(pattern)}
    stale += sorted(present - files.keys())
    for name in stale:
        print(f"contracts/schema/{name} is stale; run python -m contracts.schema", file=sys.stderr)  # noqa: T201
    return 1 if stale else 0


def _compare(old_directory: Path, files: dict[str, str]) -> int:
    old = {path.name: json.loads(path.read_text("utf-8")) for path in sorted(old_directory.glob("*.json"))}
    if not old:
        print(f"no JSON Schemas in {old_directory}", file=sys.stderr)  # noqa: T201
        return 2
    new = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
    changes = breaking_changes(old, new)
    for change in changes:
        print(change)  # noqa: T201
    return 1 if changes else 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
