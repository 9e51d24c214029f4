"""The composition on one host: hardened, healthy before used, with secrets of its own, and made of commands that exist."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector.settings import Settings, load
from connector.text_yaml import load_text_yaml
from deploy.compose import prepare
from docs.generate import commands, settings

DEPLOY = Path(__file__).parents[3] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if "oa-erp-connector" in service["image"]}
DEFINITIONS = json.loads((DEPLOY / "rabbitmq" / "definitions.json").read_text("utf-8"))


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    prepare.prepare(tmp_path)
    return tmp_path


def test_it_has_no_version_line() -> None:
    assert "version" not in COMPOSE


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_can_write_nowhere_but_its_volume_and_has_no_rights(name: str) -> None:
    service = OURS[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_runs_a_command_that_exists(name: str) -> None:
    known = {command.path for command in commands()}

    assert " ".join(["oaerp", *OURS[name]["command"]]) in known


@pytest.mark.parametrize("name", OURS)
def test_every_variable_it_is_given_is_a_setting(name: str) -> None:
    known = {setting.variable for setting in settings()} | {"OAERP_CONFIG"}

    assert set(OURS[name]["environment"]) <= known


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_it_starts_after_the_schema_is_there_and_the_servers_are_healthy(name: str) -> None:
    needs = {needed: how["condition"] for needed, how in OURS[name]["depends_on"].items()}

    assert needs == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "rabbitmq": "service_healthy",
    }


@pytest.mark.parametrize("name", ["postgres", "rabbitmq", "gateway"])
def test_a_server_says_whether_it_is_healthy(name: str) -> None:
    assert COMPOSE["services"][name]["healthcheck"]["test"]


def test_only_the_gateway_is_reached_from_outside_and_only_from_this_host() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}

    assert ports == {"gateway": ["${GATEWAY_ADDRESS:-127.0.0.1}:${GATEWAY_PORT:-8080}:8080"]}
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_every_variable_of_compose_stands_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose" / "compose.yaml").read_text("utf-8")))
    example = prepare.read_env((DEPLOY / "compose" / "env.example").read_text("utf-8"))

    assert used <= set(example)


def test_preparing_makes_secrets_that_are_all_different_and_nobody_elses(prepared: Path) -> None:
    env = prepare.read_env((prepared / ".env").read_text("utf-8"))
    passwords = [value for name, value in env.items() if name.endswith("_PASSWORD")]

    assert len(set(passwords)) == len(passwords) == 5
    assert all(len(password) >= 32 for password in passwords)
    assert stat.S_IMODE((prepared / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE((prepared / "secrets").stat().st_mode) == 0o700


def test_preparing_again_changes_nothing(prepared: Path) -> None:
    before = {path: path.read_bytes() for path in prepared.rglob("*") if path.is_file()}

    assert prepare.prepare(prepared) == []
    assert {path: path.read_bytes() for path in prepared.rglob("*") if path.is_file()} == before


def test_the_prepared_settings_are_accepted(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OAERP_CONFIG", raising=False)

    made = load(prepared / "secrets" / "oaerp.yaml")

    assert isinstance(made, Settings)
    assert len(made.security.signing_keys) == len(made.security.webhook_keys) == len(made.security.api_tokens) == 1


def test_the_brokers_users_have_the_passwords_of_the_environment(prepared: Path) -> None:
    env = prepare.read_env((prepared / ".env").read_text("utf-8"))
    made = json.loads((prepared / "secrets" / "rabbitmq-definitions.json").read_text("utf-8"))

    for user in made["users"]:
        kept = base64.b64decode(user["password_hash"])
        password = env[prepare.USERS[user["name"]]].encode()
        assert kept == kept[:4] + hashlib.sha256(kept[:4] + password).digest()


def test_nobody_can_log_in_with_the_definitions_as_they_are_committed() -> None:
    assert all(user["password_hash"] == "" for user in DEFINITIONS["users"])


@pytest.mark.parametrize(
    ("user", "verb", "name", "may"),
    [
        ("oaerp-oa", "write", "oaerp.events", True),
        ("oaerp-oa", "write", "oaerp.dead", False),
        ("oaerp-oa", "write", "oaerp.tasks", False),
        ("oaerp-oa", "read", "oaerp.events", False),
        ("oaerp-oa", "configure", "oaerp.events", False),
        ("oaerp-relay", "write", "oaerp.events", True),
        ("oaerp-relay", "write", "oaerp.tasks", False),
        ("oaerp-worker", "read", "oaerp.events", True),
        ("oaerp-worker", "read", "other.events", False),
        ("oaerp-monitor", "read", "oaerp.events", False),
    ],
)
def test_each_role_may_do_at_the_broker_what_it_needs_and_nothing_else(
    user: str, verb: str, name: str, may: bool
) -> None:
    permission = next(entry for entry in DEFINITIONS["permissions"] if entry["user"] == user)

    assert bool(re.search(permission[verb], name)) is may


def test_the_example_settings_name_nothing_but_settings() -> None:
    example = load_text_yaml((DEPLOY / "compose" / "oaerp.example.yaml").read_text("utf-8"))

    assert set(example) <= set(Settings.model_fields)
