"""The batch step beside a plain Celery task per message: the same reports, RabbitMQ and PostgreSQL, two processes each.

    python -m benchmarks.side_by_side [--events 20000] [--rounds 3]

Each round drains the same backlog (a fifth of it duplicates) once by each contender, in turn; the rate runs from the
first committed event to the last, on the database's clock, so that starting up costs nobody anything. Ours does all its
work: signature policy, every check, mapping rules with a trace, planning, the ledger. The contender does the bare work.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks import plain_celery
from connector.bootstrap import open_channel
from connector.channels import Message
from connector.ledger import Ledger
from connector.settings import Settings
from tests.support.servers import BenchServers, bench_servers

ROOT = Path(__file__).parents[1]
EXAMPLE = json.loads((ROOT / "contracts/examples/expense-report-approved.case-a.json").read_bytes())
PROCESSES = 2
DEADLINE_S = 180


def bodies(count: int) -> list[bytes]:
    """Reports like case A, each fifth one a duplicate of an earlier one; every report claims invoices of its own."""
    made: list[bytes] = []
    for n in range(count):
        at = n - 37 if n % 5 == 4 and n > 37 else n
        number = f"EXP2025-{at:06d}"
        event = {**EXAMPLE, "id": number, "subject": number, "partitionkey": f"C01/{number}"}
        lines = [
            {**line, "invoice": {**line["invoice"], "number": f"{line['invoice']['number'][:14]}{at:06d}"}}
            for line in EXAMPLE["data"]["lines"]
        ]
        event["data"] = {**EXAMPLE["data"], "number": number, "lines": lines}
        made.append(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())
    return made


@contextmanager
def processes(commands: Sequence[Sequence[str]], env: dict[str, str], log: Path) -> Iterator[None]:
    """Runs the commands side by side and ends them."""
    with log.open("ab") as out:
        running = [
            subprocess.Popen(command, env={**os.environ, **env}, cwd=ROOT, stdout=out, stderr=out)
            for command in commands
        ]
        try:
            yield
        finally:
            for child in running:
                child.terminate()
            for child in running:
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def drained(url: str, table: str, wanted: int, log: Path) -> float:
    """Waits until every distinct event is recorded; events a second between the first and the last."""
    end = time.monotonic() + DEADLINE_S
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < end:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert row is not None
            if row[0] >= wanted:
                seconds = connection.execute(
                    f"SELECT extract(epoch FROM max(received_at) - min(received_at)) FROM {table}"
                ).fetchone()
                assert seconds is not None
                return float(seconds[0])
            time.sleep(0.05)
    raise SystemExit(f"not drained within {DEADLINE_S} s:\n{log.read_text()[-3000:]}")


def ours(servers: BenchServers, events: Sequence[bytes], log: Path) -> float:
    """Seconds our two workers take."""
    url = servers.fresh_database()
    env = {
        "OAERP_LEDGER_URL": url,
        "OAERP_BROKER_URL": servers.rabbitmq_url,
        "OAERP_PREFIX": f"bench{uuid.uuid4().hex[:8]}",
        "OAERP_LOG_LEVEL": "WARNING",
    }
    ledger = Ledger(url)
    ledger.upgrade()
    ledger.close()
    settings = Settings(ledger_url=url, broker_url=env["OAERP_BROKER_URL"], prefix=env["OAERP_PREFIX"])
    channel = open_channel(settings)
    channel.declare()
    for start in range(0, len(events), 500):
        channel.publish([Message(body) for body in events[start : start + 500]])
    channel.close()
    command = [sys.executable, "-m", "workers.run", "worker"]
    with processes([command] * PROCESSES, env, log):
        return drained(url, "inbox", len(set(events)), log)


def plain(servers: BenchServers, events: Sequence[bytes], log: Path) -> float:
    """Seconds the plain Celery worker takes, prefork with two processes."""
    url = servers.fresh_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(plain_celery.SCHEMA)
    queue = f"plain{uuid.uuid4().hex[:8]}"
    env = {"BENCH_POSTGRES": url, "BENCH_BROKER": servers.rabbitmq_url, "BENCH_QUEUE": queue}
    app = plain_celery.app
    app.conf.broker_url = servers.rabbitmq_url
    with app.connection_for_write() as connection, app.amqp.producer_pool.acquire(block=True):
        producer = app.amqp.Producer(connection)
        for body in events:
            plain_celery.handle.apply_async((body.decode(),), producer=producer, queue=queue)
    command = [
        sys.executable, "-m", "celery", "-A", "benchmarks.plain_celery", "worker", "-c", str(PROCESSES), "-P", "prefork",
        "-Q", queue, "--without-mingle", "--without-gossip", "--loglevel", "WARNING",
    ]  # fmt: skip
    with processes([command], env, log):
        return drained(url, "plain_inbox", len(set(events)), log)


def main() -> None:
    """Runs the rounds and prints the medians; the last line is the ratio and nothing else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    events = bodies(given.events)
    rates: dict[str, list[float]] = {"plain Celery": [], "ours": []}
    with bench_servers() as servers, tempfile.TemporaryDirectory() as folder:
        for turn in range(1, given.rounds + 1):
            for name, contender in (("plain Celery", plain), ("ours", ours)):
                seconds = contender(servers, events, Path(folder) / f"{turn}-{name}.log")
                rates[name].append(len(events) / seconds)
                print(f"round {turn}: {name:<13} {rates[name][-1]:>9,.0f} events/s", file=sys.stderr)
    medians = {name: statistics.median(each) for name, each in rates.items()}
    for name, rate in medians.items():
        print(f"median:  {name:<13} {rate:>9,.0f} events/s")
    print(f"ours / plain Celery = {medians['ours'] / medians['plain Celery']:.1f}")


if __name__ == "__main__":
    main()
