"""Makes what compose needs and nobody may commit: .env, the settings file and the broker's users, with fresh secrets."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path

HERE = Path(__file__).parent
DEFINITIONS = HERE.parent / "rabbitmq" / "definitions.json"
# The user in the broker -> the variable that holds its password.
USERS = {
    "oaerp-worker": "RABBITMQ_WORKER_PASSWORD",
    "oaerp-relay": "RABBITMQ_RELAY_PASSWORD",
    "oaerp-oa": "RABBITMQ_OA_PASSWORD",
    "oaerp-monitor": "RABBITMQ_MONITOR_PASSWORD",
}


def env_file(example: str) -> str:
    """The example with a fresh password for every `generate`."""
    return "".join(
        f"{line.removesuffix('generate')}{secrets.token_urlsafe(24)}\n" if line.endswith("=generate") else f"{line}\n"
        for line in example.splitlines()
    )


def settings_file(example: str) -> str:
    """The example with fresh keys and a fresh token."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    hook = base64.b64encode(secrets.token_bytes(32)).decode()
    return (
        example.replace("generate-signing-key", f'"k1:{key}"')
        .replace("generate-webhook-key", f'"whsec_{hook}"')
        .replace("generate-token", f'"{secrets.token_urlsafe(32)}"')
    )


def definitions_file(definitions: str, passwords: dict[str, str]) -> str:
    """The broker's definitions with the salted hash of each user's password, as RabbitMQ keeps it."""
    document = json.loads(definitions)
    for user in document["users"]:
        user["password_hash"] = password_hash(passwords[USERS[user["name"]]], secrets.token_bytes(4))
    return json.dumps(document, indent=2) + "\n"


def password_hash(password: str, salt: bytes) -> str:
    """RabbitMQ's `rabbit_password_hashing_sha256`: base64 of the salt and the hash of salt and password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def read_env(text: str) -> dict[str, str]:
    """NAME=value lines."""
    pairs = (line.partition("=")[::2] for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return dict(pairs)


def prepare(folder: Path) -> list[Path]:
    """Writes what is missing into `folder`, never over what is there, and gives what it wrote."""
    hidden = folder / "secrets"
    hidden.mkdir(mode=0o700, parents=True, exist_ok=True)
    wrote = [path for path, text in [(folder / ".env", env_file((HERE / "env.example").read_text("utf-8")))]
             if _write(path, text, 0o600)]  # fmt: skip
    passwords = read_env((folder / ".env").read_text("utf-8"))
    # Readable inside the containers, whose user is another one; the folder keeps everybody else out.
    for path, text in (
        (hidden / "oaerp.yaml", settings_file((HERE / "oaerp.example.yaml").read_text("utf-8"))),
        (hidden / "rabbitmq-definitions.json", definitions_file(DEFINITIONS.read_text("utf-8"), passwords)),
    ):
        if _write(path, text, 0o644):
            wrote.append(path)
    return wrote


def _write(path: Path, text: str, mode: int) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    path.chmod(mode)  # whatever the umask says
    return True


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 all well, 2 wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE, help="where compose.yaml is (default: here)")
    wrote = prepare(parser.parse_args(arguments).folder)
    for path in wrote:
        print(f"wrote {path}", file=sys.stderr)  # noqa: T201
    if not wrote:
        print("all there already; nothing was changed", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
