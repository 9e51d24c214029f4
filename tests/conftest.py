"""Fixtures of all tests: real servers, found or started. A missing one skips on a laptop and fails in CI."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.support import cubicweb as cubicweb_support
from tests.support import servers
from tests.support import tryton as tryton_support
from tests.support.cubicweb import Cubicweb
from tests.support.processes import Processes
from tests.support.real import NotInstalled
from tests.support.servers import Broker, Databases, Missing
from tests.support.tryton import Tryton

T = TypeVar("T")

# A slow machine is no bug: how long an example takes proves nothing. The rest stays as it is here or in CI.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def _missing(error: Missing | NotInstalled) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))


def _given(server: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(server())
        except (Missing, NotInstalled) as error:
            _missing(error)
        yield found


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Makes PostgreSQL databases for this run."""
    try:
        url, _ = servers.find_postgres()
    except Missing as error:
        _missing(error)
    made = Databases(url)
    made.tidy()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def postgres_url(databases: Databases) -> str:
    """The URL of a new, empty database of this run."""
    return databases.fresh()


@pytest.fixture
def fresh_postgres_url(databases: Databases) -> Iterator[Callable[[], str]]:
    """Gives the URL of a new, empty database at each call."""
    # Dropped with the test: hundreds at the end take longer than a test may, and by then all were written to disk.
    own = Databases(databases.url)
    yield own.fresh
    own.remove()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Broker]:
    """A RabbitMQ virtual host of this run."""
    yield from _given(servers.rabbitmq)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Broker]:
    """A Redis and this run's key prefix."""
    yield from _given(servers.redis_server)


@pytest.fixture(scope="session")
def tryton(databases: Databases) -> Iterator[Tryton]:
    """A real Tryton on a fresh clone of its seeded database."""
    yield from _given(lambda: tryton_support.running(databases))


@pytest.fixture(scope="session")
def cubicweb() -> Iterator[Cubicweb]:
    """A real cubicweb-expense with employees E001 to E020."""
    yield from _given(cubicweb_support.running)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts child processes and ends them with the test."""
    with Processes(tmp_path) as started:
        yield started
