"""The real servers the conformance suites run against: where they are, as the environment says."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

HOW = {
    "OAERP_TEST_TRYTON": "url, database, user, password, admin_user, admin_password",
    "OAERP_TEST_CUBICWEB": "url, token_id, token",
}


def found(variable: str) -> SimpleNamespace:
    """The server the variable describes as JSON; without it the test skips, or fails where CI must run everything."""
    given = os.environ.get(variable)
    if given is None:
        message = f"no server: set {variable} to JSON with {HOW[variable]}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return SimpleNamespace(**json.loads(given))


@pytest.fixture(scope="session")
def tryton() -> SimpleNamespace:
    return found("OAERP_TEST_TRYTON")


@pytest.fixture(scope="session")
def cubicweb() -> SimpleNamespace:
    return found("OAERP_TEST_CUBICWEB")
