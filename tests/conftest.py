"""Fixtures of all tests: real servers, found or started. A missing one skips on a laptop and fails in CI."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support import servers
from tests.support.servers import Broker, Databases, Missing


def _missing(error: Missing) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Makes PostgreSQL databases for this run."""
    try:
        url, _ = servers.find_postgres()
    except Missing as error:
        _missing(error)
        raise
    made = Databases(url)
    yield made
    made.remove()


@pytest.fixture
def fresh_postgres_url(databases: Databases) -> Callable[[], str]:
    """Gives the URL of a new, empty database at each call."""
    return databases.fresh


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Broker]:
    """A RabbitMQ virtual host of this run."""
    try:
        with servers.rabbitmq() as broker:
            yield broker
    except Missing as error:
        _missing(error)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Broker]:
    """A Redis and this run's key prefix."""
    try:
        with servers.redis_server() as broker:
            yield broker
    except Missing as error:
        _missing(error)
