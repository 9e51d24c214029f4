"""Servers for tests are found, not assumed: named by the environment, else on this host's standard port, else started
privately from installed programs (PostgreSQL also from a wheel), else missing with a sentence that says how to get them.

Each run works in a database, a virtual host and a key prefix of its own, removed at the end: two runs never meet.
`python -m tests.support.servers` tells what was found; `python -m tests.support.servers install` installs the rest.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import amqp
import httpx2
import psycopg
import redis

from tests.support.private import (
    Missing,
    Private,
    postgres_answers,
    postgres_programs,
    private_postgres,
    private_rabbitmq,
    private_redis,
    rabbitmq_answers,
    redis_answers,
    virtual_host,
)

__all__ = [
    "BenchServers",
    "Broker",
    "Databases",
    "Missing",
    "Private",
    "bench_servers",
    "find_postgres",
    "private_postgres",
    "private_rabbitmq",
    "private_redis",
    "rabbitmq",
    "redis_server",
]

DEBIAN = {"PostgreSQL": "postgresql", "RabbitMQ": "rabbitmq-server", "Redis": "redis-server"}
HERE = "127.0.0.1"
NAMED, STANDARD, STARTED = "named by {}", "on the standard port", "started privately"
LEFT_BEHIND_H = 24  # What a killed run left is removed after that.
CLAIM_S = 6 * 3600


def run_name() -> str:
    """A name for something of this run; it tells when it was made, so that leftovers can be recognised."""
    return f"oaerp_{datetime.now(UTC):%Y%m%d%H%M}_{uuid.uuid4().hex[:10]}"


def _is_left_behind(name: str) -> bool:
    made = re.fullmatch(r"oaerp_(\d{12})_[0-9a-f]{10}", name)
    if made is None:
        return False
    age = datetime.now(UTC) - datetime.strptime(made[1], "%Y%m%d%H%M").replace(tzinfo=UTC)
    return age > timedelta(hours=LEFT_BEHIND_H)


def _named(variable: str, answers: Callable[[str], bool]) -> str | None:
    """What the environment names. A server that is named must be there: nothing else takes its place silently."""
    url = os.environ.get(variable)
    if url and not answers(url):
        raise RuntimeError(f"{variable} is set, but the server it names does not let us in: {_without_password(url)}")
    return url or None


# PostgreSQL


@functools.cache
def find_postgres() -> tuple[str, str]:
    """The URL of a database from which others can be created, and how it was found. Raises Missing."""
    named = _named("OAERP_TEST_POSTGRES_URL", postgres_answers)
    if named:
        return named, NAMED.format("OAERP_TEST_POSTGRES_URL")
    for role in dict.fromkeys((getpass.getuser(), "postgres", "root")):
        url = f"postgresql://{role}@{HERE}:5432/postgres"
        if postgres_answers(url):
            return url, STANDARD
    server = private_postgres()
    server.start()
    return server.url, f"{STARTED} from {postgres_programs()}"


class Databases:
    """Makes databases and removes them all at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._made: list[str] = []

    def tidy(self) -> None:
        """Drops what runs that were killed left behind."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            names = [row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()]
            for name in filter(_is_left_behind, names):
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    def fresh(self, template: str | None = None) -> str:
        """The URL of a new database, empty or a copy of `template`."""
        name = run_name()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}".encode())
        self._made.append(name)
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def remove(self) -> None:
        """Drops what was made, whoever is still connected."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name in self._made:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        self._made.clear()


# RabbitMQ


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker's URL, the prefix that keeps this run's names apart, and how it was found."""

    url: str
    prefix: str
    how: str = ""


def _prefix() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@contextmanager
def rabbitmq() -> Iterator[Broker]:
    """A virtual host of one's own where that can be made, else the given one and a prefix of one's own. Raises Missing."""
    named = _named("OAERP_TEST_RABBITMQ_URL", rabbitmq_answers)
    url = named or f"amqp://guest:guest@{HERE}:5672/%2F"
    prefix, how = _prefix(), NAMED.format("OAERP_TEST_RABBITMQ_URL") if named else STANDARD
    if not named and not rabbitmq_answers(url):
        with private_rabbitmq() as server:
            yield Broker(server.url, prefix, STARTED)
        return
    for make, remove in (_by_command(url), _by_management(url)):
        host = run_name()
        if not make(host):
            continue
        own = urlsplit(url)._replace(path=f"/{host}").geturl()
        try:
            if rabbitmq_answers(own):
                yield Broker(own, prefix, f"{how}, virtual host {host}")
                return
        finally:
            remove(host)
    try:
        yield Broker(url, prefix, f"{how}, a prefix in a virtual host that is not ours alone")
    finally:
        _forget(url, prefix)


Step = Callable[[str], bool]


def _by_command(url: str) -> tuple[Step, Step]:
    """Makes and removes a virtual host with rabbitmqctl, which works on this host as root or rabbitmq."""
    user = urlsplit(url).username or "guest"

    def ctl(*arguments: str) -> str | None:
        if shutil.which("rabbitmqctl") is None or urlsplit(url).hostname not in (HERE, "localhost"):
            return None
        done = subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    def make(host: str) -> bool:
        hosts = ctl("list_vhosts", "name")
        for name in filter(_is_left_behind, (hosts or "").split()):
            ctl("delete_vhost", name)
        return (
            hosts is not None
            and ctl("add_vhost", host) is not None
            and ctl("set_permissions", "-p", host, user, ".*", ".*", ".*") is not None
        )

    return make, lambda host: ctl("delete_vhost", host) is not None


def _by_management(url: str) -> tuple[Step, Step]:
    """The same over RabbitMQ's management API on its standard port, with the same login."""
    parts = urlsplit(url)
    user, password = parts.username or "guest", parts.password or "guest"
    base = f"http://{parts.hostname}:15672/api"

    def ask(method: str, path: str, body: dict[str, str] | None = None) -> bool:
        try:
            return httpx2.request(method, base + path, json=body, auth=(user, password), timeout=5).is_success
        except httpx2.TransportError:
            return False

    def make(host: str) -> bool:
        every = {"configure": ".*", "write": ".*", "read": ".*"}
        return ask("PUT", f"/vhosts/{host}", {}) and ask("PUT", f"/permissions/{host}/{quote(user)}", every)

    return make, lambda host: ask("DELETE", f"/vhosts/{host}")


def _forget(url: str, prefix: str) -> None:
    """Deletes what the connector declares under a prefix."""
    parts = urlsplit(url)
    with amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=parts.username or "guest",
        password=parts.password or "guest",
        virtual_host=virtual_host(url),
        ssl=parts.scheme == "amqps",
    ) as connection:
        for name in ("events", "dead", "tasks"):
            channel = connection.channel()
            channel.queue_delete(f"{prefix}.{name}")
            channel.exchange_delete(f"{prefix}.{name}")


# Redis


@contextmanager
def redis_server() -> Iterator[Broker]:
    """A key prefix of one's own, in a numbered database of one's own where one is free; all its keys are removed at the
    end. Raises Missing."""
    named = _named("OAERP_TEST_REDIS_URL", redis_answers)
    url = named or f"redis://{HERE}:6379"
    prefix = _prefix()
    if not named and not redis_answers(url):
        with private_redis() as server:
            yield Broker(server.url, prefix, STARTED)
        return
    number, give_back = (0, lambda: None) if urlsplit(url).path.strip("/") else _claim(url, prefix)
    own = urlsplit(url)._replace(path=f"/{number}").geturl() if number else url
    try:
        yield Broker(own, prefix, NAMED.format("OAERP_TEST_REDIS_URL") if named else STANDARD)
    finally:
        with contextlib.closing(redis.Redis.from_url(own)) as client:
            for key in client.scan_iter(f"{prefix}*", count=1000):
                client.delete(key)
        give_back()


def _claim(url: str, owner: str) -> tuple[int, Callable[[], object]]:
    """The number of an empty database nobody else has claimed, and how to give it back; 0 where there is none."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        for number in range(1, 16):
            claim = f"oaerp:test-run:{number}"
            try:
                with contextlib.closing(
                    redis.Redis.from_url(urlsplit(url)._replace(path=f"/{number}").geturl())
                ) as other:
                    if other.dbsize() or not client.set(claim, owner, nx=True, ex=CLAIM_S):
                        continue
            except redis.ResponseError:
                break  # It has fewer databases.
            return number, lambda claim=claim: _give_back(url, claim)  # type: ignore[misc]
    return 0, lambda: None


def _give_back(url: str, claim: str) -> None:
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        client.delete(claim)


# The benchmark


class BenchServers:
    """What the benchmark runs on."""

    def __init__(self, databases: Databases, rabbitmq_url: str) -> None:
        self.fresh_database = databases.fresh
        self.rabbitmq_url = rabbitmq_url


@contextmanager
def bench_servers() -> Iterator[BenchServers]:
    """Real servers for `make bench`."""
    databases = Databases(find_postgres()[0])
    try:
        with rabbitmq() as broker:
            yield BenchServers(databases, broker.url)
    finally:
        databases.remove()


# The command


def _tell() -> int:
    """Prints one line per server; 1 where one is missing."""

    def of(context: Callable[[], Any]) -> Callable[[], tuple[str, str]]:
        def ask() -> tuple[str, str]:
            with context() as broker:
                return _without_password(broker.url), broker.how

        return ask

    def postgres() -> tuple[str, str]:
        url, how = find_postgres()
        return _without_password(url), how

    rows: list[Sequence[str]] = []
    missing = 0
    for name, ask in (("PostgreSQL", postgres), ("RabbitMQ", of(rabbitmq)), ("Redis", of(redis_server))):
        try:
            rows.append((name, "found", *ask()))
        except Missing as error:
            missing = 1
            rows.append((name, "missing", str(error), ""))
    for name, state, where, how in rows:
        print(f"{name:<11} {state:<8} {where}{f'  ({how})' if how else ''}")
    return missing


def _without_password(url: str) -> str:
    return re.sub(r"(//[^:/@]*):[^@/]*@", r"\1@", url)


def _install() -> int:
    if shutil.which("apt-get") is None:
        print(
            "this installs Debian packages; elsewhere, install PostgreSQL 15+, RabbitMQ 3.10+ and Redis 7 your own way",
            file=sys.stderr,
        )
        return 1
    if os.geteuid() != 0:
        print(f"this needs root: sudo apt-get install {' '.join(DEBIAN.values())}", file=sys.stderr)
        return 1
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=env)
    return subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *DEBIAN.values()], env=env
    ).returncode


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["install"]):
        raise SystemExit("usage: python -m tests.support.servers [install]")
    sys.exit(_install() if sys.argv[1:] else _tell())
