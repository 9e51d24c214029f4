"""The servers tests stand on: found ones answer, one's own can be killed, and two runs do not meet."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import amqp
import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import private, servers
from tests.support.private import Missing, Private
from tests.support.processes import Processes
from tests.support.proxy import Proxy
from tests.support.real import ROOT
from tests.support.servers import Broker, Databases
from tests.support.wait import until


def own(make: Callable[[], Private]) -> Private:
    """A server of one's own; the test skips where the programs are missing, and fails in CI."""
    try:
        return make()
    except Missing as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def amqp_connection(url: str) -> amqp.Connection:
    parts = urlsplit(url)
    return amqp.Connection(f"{parts.hostname}:{parts.port}", virtual_host=private.virtual_host(url), connect_timeout=5)


def test_a_found_postgresql_gives_an_empty_database(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")

        assert tables.fetchone() == (0,)


def test_a_database_may_be_a_copy_of_another_one(databases: Databases) -> None:
    pattern = databases.fresh()
    with psycopg.connect(pattern, autocommit=True) as connection:
        connection.execute("CREATE TABLE seeded AS SELECT 42 AS answer")

    copy = databases.fresh(urlsplit(pattern).path[1:])

    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT answer FROM seeded").fetchone() == (42,)


def test_databases_are_gone_at_the_end(databases: Databases) -> None:
    run = Databases(databases.url)
    url = run.fresh()

    with psycopg.connect(url):
        run.remove()

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_a_found_rabbitmq_takes_a_quorum_queue(rabbitmq: Broker) -> None:
    name = f"{rabbitmq.prefix}.probe"
    with closing(amqp_connection(rabbitmq.url)) as connection:
        connection.connect()
        channel = connection.channel()
        channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        channel.basic_publish(amqp.Message(b"hello"), routing_key=name)

        until(lambda: (got := channel.basic_get(name, no_ack=True)) and got.body == b"hello", 60, "the message arrives")

        channel.queue_delete(name)


def test_a_found_redis_takes_a_stream(redis_server: Broker) -> None:
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        client.xadd(f"{redis_server.prefix}:probe", {"body": "hello"})

        assert client.xlen(f"{redis_server.prefix}:probe") == 1


@pytest.fixture
def two_runs() -> Iterator[Callable[[Callable[[], AbstractContextManager[Broker]]], tuple[Broker, Broker]]]:
    with ExitStack() as stack:

        def start(server: Callable[[], AbstractContextManager[Broker]]) -> tuple[Broker, Broker]:
            return stack.enter_context(server()), stack.enter_context(server())

        yield start


def test_two_runs_have_databases_of_their_own(databases: Databases) -> None:
    other_run = Databases(databases.url)

    names = {databases.fresh(), other_run.fresh()}

    other_run.remove()
    assert len(names) == 2


def test_two_runs_have_virtual_hosts_of_their_own(
    rabbitmq: Broker, two_runs: Callable[..., tuple[Broker, Broker]]
) -> None:
    first, second = two_runs(servers.rabbitmq)

    assert len({rabbitmq.prefix, first.prefix, second.prefix}) == 3
    if "not ours alone" not in first.how:
        assert first.url != second.url


def test_without_the_right_to_make_virtual_hosts_a_prefix_keeps_runs_apart(
    rabbitmq: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(host: str) -> bool:
        return False

    monkeypatch.setenv("OAERP_TEST_RABBITMQ_URL", rabbitmq.url)
    monkeypatch.setattr(servers, "_by_command", lambda url: (never, never))
    monkeypatch.setattr(servers, "_by_management", lambda url: (never, never))

    with servers.rabbitmq() as run, closing(amqp_connection(run.url)) as connection:
        connection.connect()
        connection.channel().queue_declare(f"{run.prefix}.events", durable=True, auto_delete=False)

    assert run.url == rabbitmq.url
    with closing(amqp_connection(run.url)) as connection:
        connection.connect()
        channel = connection.channel()
        with pytest.raises(amqp.NotFound):
            channel.queue_declare(f"{run.prefix}.events", passive=True)


def test_a_named_server_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAERP_TEST_REDIS_URL", f"redis://:secret@127.0.0.1:{private.free_port()}/0")

    with pytest.raises(RuntimeError, match="OAERP_TEST_REDIS_URL is set") as error, servers.redis_server():
        pass

    assert "secret" not in str(error.value)


def test_what_a_killed_run_left_running_is_ended_by_the_next_one(tmp_path: Path) -> None:
    own(servers.private_redis).remove()  # Skips where there is none.
    left = tmp_path / "left.py"
    left.write_text(
        "import os, signal\nfrom tests.support.private import private_redis\nserver = private_redis()\nserver.start()\n"
        "print(server.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pid = int(subprocess.run([sys.executable, str(left)], env=env, capture_output=True, text=True).stdout)
    assert psutil.pid_exists(pid)

    again = "from tests.support.private import temporary_folder as t; t('probe').joinpath('owner').write_text('0 0')"
    subprocess.run([sys.executable, "-c", again], cwd=ROOT, check=True)

    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 60, "it ended")


def test_two_runs_have_redis_keys_of_their_own(
    redis_server: Broker, two_runs: Callable[..., tuple[Broker, Broker]]
) -> None:
    first, second = two_runs(servers.redis_server)

    assert len({redis_server.prefix, first.prefix, second.prefix}) == 3


def test_a_run_takes_its_redis_keys_away(redis_server: Broker) -> None:
    with servers.redis_server() as run, closing(redis.Redis.from_url(run.url)) as client:
        client.set(f"{run.prefix}:left", "behind")
    if run.how == servers.STARTED:
        return
    with closing(redis.Redis.from_url(run.url)) as client:
        assert list(client.scan_iter(f"{run.prefix}*")) == []


def test_a_private_redis_keeps_its_port_and_what_it_was_told_through_a_kill() -> None:
    with (
        own(lambda: servers.private_redis(durable=True)) as server,
        closing(redis.Redis.from_url(server.url)) as client,
    ):
        client.set("told", "kept")
        pid = server.pid

        server.kill()
        assert not private.redis_answers(server.url)
        server.start()

        assert client.get("told") == b"kept"
        assert server.pid != pid


def test_a_private_redis_can_be_wiped() -> None:
    with (
        own(lambda: servers.private_redis(durable=True)) as server,
        closing(redis.Redis.from_url(server.url)) as client,
    ):
        client.set("told", "kept")

        server.wipe()
        server.start()

        assert client.get("told") is None


def test_a_private_postgresql_keeps_its_port_and_its_rows_through_a_kill() -> None:
    with own(servers.private_postgres) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE told AS SELECT 1 AS kept")
            connection.execute("CHECKPOINT")

        server.kill()
        assert not private.postgres_answers(server.url)
        server.start()

        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT kept FROM told").fetchone() == (1,)


def test_a_private_postgresql_runs_from_the_wheel_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "postgres_programs", private.wheel_programs)

    with own(servers.private_postgres) as server, psycopg.connect(server.url) as connection:
        assert connection.info.server_version >= 150000


def test_a_private_rabbitmq_keeps_its_port_and_its_durable_messages_through_a_kill() -> None:
    with own(servers.private_rabbitmq) as server:
        with closing(amqp_connection(server.url)) as connection:
            connection.connect()
            channel = connection.channel()
            channel.confirm_select()
            # Not a quorum queue: RabbitMQ 3.10 forgets the leader of one that was declared seconds before the kill.
            channel.queue_declare("told", durable=True, auto_delete=False)
            channel.basic_publish_confirm(amqp.Message(b"kept", delivery_mode=2), routing_key="told")

        server.kill()
        assert not private.rabbitmq_answers(server.url)
        server.start()

        with closing(amqp_connection(server.url)) as connection:
            connection.connect()
            channel = connection.channel()
            until(lambda: (got := channel.basic_get("told", no_ack=True)) and got.body == b"kept", 60, "it is there")


def test_a_private_rabbitmq_leaves_nothing_running() -> None:
    with own(servers.private_rabbitmq) as server:
        names = int(server.env["ERL_EPMD_PORT"])
        pid = server.pid

    assert not os.path.exists(f"/proc/{pid}")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", names)) != 0
    assert not server.folder.exists()


def test_a_missing_server_says_how_to_get_it() -> None:
    assert "make servers" in str(Missing("RabbitMQ"))
    assert "OAERP_TEST_REDIS_URL" in str(Missing("Redis"))


def test_a_half_open_connection_swallows_and_a_reset_one_ends(redis_server: Broker) -> None:
    parts = urlsplit(redis_server.url)
    assert parts.hostname
    with (
        Proxy(parts.hostname, parts.port or 6379) as proxy,
        closing(redis.Redis(port=proxy.port, socket_timeout=2, retry=Retry(NoBackoff(), 0))) as client,
    ):
        assert client.ping()
        proxy.mode = "half_open"
        with pytest.raises(redis.TimeoutError):
            client.ping()
        proxy.mode = "reset"
        with pytest.raises(redis.ConnectionError):
            client.ping()
        proxy.mode = "pass"
        assert client.ping()


def test_a_stalled_connection_goes_on_where_it_was(redis_server: Broker) -> None:
    parts = urlsplit(redis_server.url)
    assert parts.hostname
    with Proxy(parts.hostname, parts.port or 6379) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as end:
        end.settimeout(60)
        proxy.mode = "stall"
        end.sendall(b"PING\r\n")

        proxy.mode = "pass"

        assert end.recv(100) == b"+PONG\r\n"


def test_a_child_process_stands_still_goes_on_and_ends_with_the_test(processes: Processes) -> None:
    child = processes.start(sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read(); input()")
    until(lambda: "up" in child.log, 60, "it is up")
    sleeper = processes.start("sleep", "600")

    sleeper.pause()
    until(lambda: psutil.Process(sleeper.pid).status() == psutil.STATUS_STOPPED, 60, "it stands still")
    sleeper.resume()
    processes.close()

    assert not sleeper.running
    assert not child.running


def test_the_command_tells_what_was_found() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.servers"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )

    assert [line.split()[0] for line in done.stdout.splitlines()] == ["PostgreSQL", "RabbitMQ", "Redis"]
    assert "guest:guest" not in done.stdout
