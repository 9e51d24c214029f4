"""Commands that run: up, worker, relay, beat, gateway, folder; and the ledger's tables."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import typer

from workers.cli.base import AsJson, app, runtime, settings
from workers.cli.output import emit, leave, note
from workers.cli.state import CONFIGURATION

if TYPE_CHECKING:
    from connector.bootstrap import Runtime

db = typer.Typer(no_args_is_help=True, help="The ledger's tables.")
app.add_typer(db, name="db")


def _logs() -> None:
    from workers.logs import configure

    configure(settings().log_level)


def _started(what: str, as_json: bool, **values: Any) -> None:
    if as_json:
        emit({"running": what, **values})
    else:
        where = " http://{host}:{port}".format(**values) if "port" in values else ""
        note("runs", what=f"{what}{where}")


@app.command()
def worker(as_json: AsJson = False) -> None:
    """Run a worker: it reads events, decides, and delivers to the ERP. Any number may run."""
    from workers import run

    _logs()
    with runtime() as opened:
        _started("worker", as_json)
        leave(run.worker(opened))


@app.command()
def relay(as_json: AsJson = False) -> None:
    """Run a relay: it sends events from the ledger to the broker. Any number may run."""
    from workers import run

    _logs()
    with runtime() as opened:
        asked = run.stop_on_signals()  # before it says that it runs
        _started("relay", as_json)
        leave(run.relay_process(opened, asked))


@app.command()
def beat(as_json: AsJson = False) -> None:
    """Run the schedule: due postings, systems to poll. Two of them change nothing."""
    from workers import run

    _logs()
    with runtime() as opened:
        if opened.settings.embedded:
            note("beat_needs_broker")
            leave(CONFIGURATION)
        _started("beat", as_json)
        leave(run.beat(opened))


@app.command()
def gateway(as_json: AsJson = False) -> None:
    """Run the HTTP door: POST /v1/events, POST /v1/hooks/ADAPTER, /healthz, /readyz, /metrics; and the watched folders."""
    from workers import gateway as door
    from workers.run import stop_on_signals

    _logs()
    with runtime() as opened:
        # The HTTP server takes signals itself, and hands them on when it is done: here they only set this.
        asked = stop_on_signals()
        folders = _watch_folders(opened, asked)
        try:
            door.serve(
                opened,
                stop=asked,
                started=lambda port: _started("gateway", as_json, host=opened.settings.gateway.host, port=port),
            )
        finally:
            asked.set()
            for thread in folders:
                thread.join(10)


@app.command()
def up(as_json: AsJson = False) -> None:
    """Run everything in this process: SQLite, broker in memory, worker, relay, schedule, gateway and watched folders."""
    from workers import gateway as door
    from workers.embedded import running
    from workers.run import stop_on_signals, wait_for

    _logs()
    with runtime() as opened:
        found = opened.settings
        if not found.embedded:
            note("up_needs_memory", broker=found.broker_url.partition(":")[0])
            leave(CONFIGURATION)
        asked = stop_on_signals()

        def serve(stop: threading.Event) -> None:
            door.serve(opened, stop=stop, started=_tell_port(as_json, found.gateway.host))

        def folders(stop: threading.Event) -> None:
            for thread in _watch_folders(opened, stop):
                thread.join()

        with running(opened, [serve, folders]):
            wait_for(asked)


def _tell_port(as_json: bool, host: str) -> Any:
    def told(port: int) -> None:
        if as_json:
            emit({"running": "up", "host": host, "port": port})
        else:
            note("up", host=host, port=port)

    return told


def _watch_folders(opened: Runtime, stop: threading.Event) -> list[threading.Thread]:
    """One thread for each watched folder."""
    from connector.oa.door import into_ledger
    from workers.watch import watch

    accept, refuse = into_ledger(opened.ledger)
    threads = [
        threading.Thread(target=watch, args=(folder, accept, refuse, stop), name=f"folder {folder.path}", daemon=True)
        for folder in opened.settings.folders
    ]
    for thread in threads:
        thread.start()
    return threads


@db.command("upgrade")
def upgrade(as_json: AsJson = False) -> None:
    """Make or bring up to date the ledger's tables. Running it again, or twice at once, changes nothing more."""
    from sqlalchemy import make_url

    with runtime(migrated=False) as opened:
        opened.ledger.upgrade()
        shown = make_url(opened.ledger.url).render_as_string(hide_password=True)
    if as_json:
        emit({"upgraded": True, "ledger": shown})
    else:
        note("upgraded", ledger=shown)
