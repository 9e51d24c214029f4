"""A real Tryton 8.2 on PostgreSQL for tests: seeded once per machine, cloned for each run, and asked as an oracle by SQL.

Never on SQLite: there Tryton posts moves that do not balance.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg

from tests.support import real
from tests.support.private import Private, free_port, temporary_folder
from tests.support.servers import Databases

MODULES = ("account", "account_invoice", "account_payment", "company", "currency", "party")
SEED = Path(__file__).with_name("tryton_seed.py")
CHART = real.ROOT / "connector" / "translate" / "starters" / "chinese" / "chart.csv"
BESIDE_THE_CHART = [("1002", "银行存款"), ("6601", "销售费用")]


class Refused(Exception):
    """Tryton answered with an error; its own words."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a move, by the codes an accountant knows."""

    account: str
    debit: Decimal
    credit: Decimal
    party: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Move:
    """A move as it stands in the database. `cancels` is the move it takes back."""

    id: int
    number: str | None
    state: str
    reference: str | None
    date: date
    cancels: int | None
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Tryton:
    """A running Tryton and its database."""

    server: Private
    client: httpx2.Client
    database_url: str
    company: int = 1
    user: str = "connector"
    password: str = field(default="connector-pw-1", repr=False)
    admin_user: str = "admin"
    admin_password: str = field(default="admin-pw-1", repr=False)
    sessions: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """Of the server; the database's name is the first part of each path."""
        return self.server.url

    @property
    def database(self) -> str:
        """The database's name."""
        return urlsplit(self.database_url).path[1:]

    def login(self) -> dict[str, str]:
        """What a client must know."""
        names = ("url", "database", "user", "password", "admin_user", "admin_password")
        return {name: str(getattr(self, name)) for name in names}

    # What the books hold, past the connector and past Tryton's own program

    def moves(self, prefix: str = "") -> list[Move]:
        """Every move whose description begins with `prefix`, drafts too, oldest first."""
        with psycopg.connect(self.database_url) as connection:
            heads = connection.execute(
                "SELECT id, number, state, description, date, origin FROM account_move"
                " WHERE starts_with(coalesce(description, ''), %s) ORDER BY id",
                [prefix],
            ).fetchall()
            rows = connection.execute(
                "SELECT l.move, a.code, l.debit, l.credit, p.code, l.description FROM account_move_line l"
                " JOIN account_account a ON a.id = l.account LEFT JOIN party_party p ON p.id = l.party"
                " WHERE l.move = ANY(%s) ORDER BY l.id",
                [[head[0] for head in heads]],
            ).fetchall()
        lines: defaultdict[int, list[Line]] = defaultdict(list)
        for move, *values in rows:
            lines[move].append(Line(*values))
        return [Move(*head[:5], _cancelled(head[5]), tuple(lines[head[0]])) for head in heads]

    def live_moves(self, prefix: str = "") -> list[Move]:
        """Posted moves that count: neither taken back by a posted move nor taking one back themselves."""
        posted = [move for move in self.moves() if move.state == "posted"]
        taken_back = {move.cancels for move in posted if move.cancels is not None}
        return [
            move
            for move in posted
            if move.cancels is None and move.id not in taken_back and (move.reference or "").startswith(prefix)
        ]

    def balance(self, account: str) -> Decimal:
        """Debit less credit of all posted lines on an account."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(l.debit - l.credit), 0) FROM account_move_line l"
                " JOIN account_move m ON m.id = l.move JOIN account_account a ON a.id = l.account"
                " WHERE m.state = 'posted' AND a.code = %s",
                [account],
            ).fetchone()
        assert row is not None
        return Decimal(row[0])

    def party_codes(self) -> dict[str, str]:
        """Names by code."""
        with psycopg.connect(self.database_url) as connection:
            return dict(connection.execute("SELECT code, name FROM party_party WHERE code IS NOT NULL").fetchall())

    # What people do in Tryton by hand

    def call(self, method: str, *params: Any, user: str | None = None, **context: Any) -> Any:
        """One RPC as a person; the company is in the context. Raises Refused with Tryton's words."""
        login = user or self.admin_user
        if login not in self.sessions:
            uid, token, *_ = self._ask({}, "common.db.login", login, {"password": self._password_of(login)}, "en")
            self.sessions[login] = base64.b64encode(f"{login}:{uid}:{token}".encode()).decode()
        context = {"company": self.company, "companies": [self.company], "language": "en", **context}
        return self._ask({"Authorization": f"Session {self.sessions[login]}"}, method, *params, context)

    def id_of(self, model: str, **values: Any) -> int:
        """The id of the one record with these values."""
        found = self.call(f"model.{model}.search", [[name, "=", value] for name, value in values.items()], 0, 2, None)
        assert len(found) == 1, f"{len(found)} of {model} with {values}"
        return int(found[0])

    def draft(self, reference: str, lines: Sequence[tuple[str, str, str, str | None]], on: date) -> int:
        """A draft move by hand, of (account, debit, credit, party) lines; its id."""
        values = {
            "company": self.company,
            "journal": self.id_of("account.journal", code="EXP"),
            "period": self.id_of("account.period", name=f"{on:%Y-%m}"),
            "date": {"__class__": "date", "year": on.year, "month": on.month, "day": on.day},
            "description": reference,
            "lines": [["create", [self._line(*line) for line in lines]]],
        }
        return int(self.call("model.account.move.create", [values], user="accountant")[0])

    def post(self, move: int) -> None:
        """Posts a draft by hand; raises Refused where Tryton does not."""
        self.call("model.account.move.post", [move], user="accountant")

    def close_period(self, name: str) -> None:
        """Closes a month, like "2026-01"."""
        self.call("model.account.period.close", [self.id_of("account.period", name=name)])

    def reopen_period(self, name: str) -> None:
        """Opens a month again."""
        self.call("model.account.period.reopen", [self.id_of("account.period", name=name)])

    def _line(self, account: str, debit: str, credit: str, party: str | None) -> dict[str, Any]:
        values: dict[str, Any] = {
            "account": self.id_of("account.account", code=account),
            "debit": {"__class__": "Decimal", "decimal": debit},
            "credit": {"__class__": "Decimal", "decimal": credit},
        }
        return values if party is None else {**values, "party": self.id_of("party.party", code=party)}

    def _password_of(self, login: str) -> str:
        return {self.user: self.password, self.admin_user: self.admin_password}.get(login, f"{login}-pw-1")

    def _ask(self, headers: dict[str, str], method: str, *params: Any) -> Any:
        body = {"id": 1, "method": method, "params": params}
        answer = self.client.post(f"{self.url}/{self.database}/rpc/", json=body, headers=headers)
        if answer.status_code != 200:
            raise Refused(f"HTTP {answer.status_code} {answer.text[:300]}")
        said = answer.json()
        if "error" in said:
            raise Refused(str(said["error"]))
        return said["result"]


@contextmanager
def running(databases: Databases) -> Iterator[Tryton]:
    """A Tryton server of one's own on a fresh clone of the seeded database. Raises real.NotInstalled."""
    programs = real.programs("tryton")
    database_url = _clone(databases)
    folder, port = temporary_folder("tryton"), free_port()
    config = _write_config(folder, databases.url, port)
    url = f"http://127.0.0.1:{port}"
    # It answers sensibly only for databases it was told of at its start.
    command = [str(programs / "trytond"), "-c", str(config), "-d", urlsplit(database_url).path[1:]]
    server = Private("Tryton", url, command, port, folder, ready=lambda: _answers(url))
    with server, httpx2.Client(timeout=60, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
        yield Tryton(server, client, database_url)


def template(databases: Databases) -> str:
    """The name of the seeded database, made where this machine does not have it yet (about half a minute)."""
    year = datetime.now(UTC).year  # The seed makes periods up to the next one.
    made_of = (
        json.dumps([MODULES, _accounts(), year]).encode() + SEED.read_bytes() + real.requirements("tryton").read_bytes()
    )
    digest = hashlib.sha256(made_of).hexdigest()
    family = "oaerp_tryton_"
    name = f"{family}{digest[:12]}"
    with psycopg.connect(databases.url, autocommit=True) as connection:
        # Another run on this server may be at the same work: it makes the template, this one waits and finds it.
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [family])
        found = {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}
        if name in found:
            return name
        for old in sorted(other for other in found if other.startswith(family)):
            _drop_if_unused(connection, old)
        making = f"{name}_making"
        connection.execute(f"CREATE DATABASE {making} ENCODING 'UTF8' TEMPLATE template0".encode())
        connection.execute(f"ALTER DATABASE {making} SET synchronous_commit = off".encode())
        _seed(databases.url, making)
        connection.execute(f"ALTER DATABASE {making} RENAME TO {name}".encode())
    return name


def _seed(server_url: str, database: str) -> None:
    programs = real.programs("tryton")
    folder = temporary_folder("tryton-seed")
    config = _write_config(folder, server_url, free_port())
    (folder / "password").write_text("admin-pw-1\n")
    (folder / "accounts.json").write_text(json.dumps(_accounts(), ensure_ascii=False), encoding="utf-8")
    env = {**os.environ, "TRYTONPASSFILE": str(folder / "password")}
    admin = [str(programs / "trytond-admin"), "-c", str(config), "-d", database, "--email", "admin@example.org"]
    seed = [str(programs / "python"), str(SEED), str(config), database, str(folder / "accounts.json")]
    try:
        for command in ([*admin, "--activate-dependencies", "-l", "zh_CN", "-u", *MODULES], seed):
            done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"Tryton's database was not made: {' '.join(command)}\n{done.stderr[-3000:]}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _accounts() -> list[dict[str, object]]:
    """Codes and names out of the starter book, and what Tryton wants to know beside them."""
    with CHART.open(encoding="utf-8", newline="") as file:
        rows = [(row["account"], row["name_zh"]) for row in csv.DictReader(file)]
    return [
        {"code": code, "name": name, "kind": _kind(code), "party": _kind(code) in ("receivable", "payable")}
        for code, name in [*rows, *BESIDE_THE_CHART]
    ]


def _kind(code: str) -> str:
    if code.startswith("1221"):
        return "receivable"
    if code.startswith(("2202", "224101")):
        return "payable"
    return {"1": "asset", "2": "liability"}.get(code[0], "expense")


def _clone(databases: Databases) -> str:
    url = databases.fresh(template(databases))
    with psycopg.connect(databases.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} SET synchronous_commit = off".encode())
    return url


def _drop_if_unused(connection: psycopg.Connection[Any], name: str) -> None:
    # An older checkout may work with it right now; then the next change of the seed removes it.
    with suppress(psycopg.errors.ObjectInUse):
        connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())


def _write_config(folder: Path, postgres_url: str, port: int) -> Path:
    uri = urlsplit(postgres_url)._replace(path="/", query="").geturl()
    config = folder / "trytond.conf"
    config.write_text(
        f"[database]\nuri = {uri}\npath = {folder}\n[web]\nlisten = 127.0.0.1:{port}\nhostname = 127.0.0.1\n"
    )
    config.chmod(0o600)
    return config


def _answers(url: str) -> bool:
    try:
        body = {"id": 1, "method": "common.server.version", "params": []}
        return httpx2.post(f"{url}/rpc/", json=body, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def _cancelled(origin: str | None) -> int | None:
    kind, _, move = (origin or "").partition(",")
    return int(move) if kind == "account.move" else None
