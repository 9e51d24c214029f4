"""A real cubicweb-expense 1.1 for tests: an OA where employees hand in expenses and a manager accepts them.

Its database is SQLite: the OA is not what is measured here. Requests are signed by code of this file, not by the connector's.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx2

from tests.support import real
from tests.support.private import Private, free_port, temporary_folder
from tests.support.wait import until

INSTANCE = "expense"
EMPLOYEES = tuple(f"E{number:03}" for number in range(1, 21))
SEED = Path(__file__).with_name("cubicweb_seed.py")
LOCKED_S = 30
Query = tuple[str, Mapping[str, Any]]


class Refused(Exception):
    """The OA answered with an error; its own words."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an expense. Amounts are texts of decimals; the OA makes floats of them."""

    amount: str
    taxes: str = "0"
    type: str = "accomodation"  # The OA's own spelling; also transport, food, communication, others.
    title: str = "深圳 2 晚"
    day: date = date(2026, 11, 20)
    currency: str = "CNY"
    paid_by: str = "employee"  # Also company_card and supplier.
    paid_for: str = "travel"


@dataclass(frozen=True)
class Cubicweb:
    """A running OA. `token_id` and `token` are the connector's; a login is an employee's number, `admin` accepts."""

    server: Private
    client: httpx2.Client
    tokens: Mapping[str, str] = field(repr=False)
    token_id: str = "connector"

    @property
    def url(self) -> str:
        """Of the OA, also the one that requests are signed for."""
        return self.server.url

    @property
    def token(self) -> str:
        """The connector's; it acts as `admin`."""
        return self.tokens[self.token_id]

    def login(self) -> dict[str, str]:
        """What a client must know."""
        return {"url": self.url, "token_id": self.token_id, "token": self.token}

    # What people do

    def create(self, title: str, lines: Sequence[Line], by: str = "E017") -> int:
        """A draft of an employee; its eid (the connector calls it EX<eid>)."""
        queries: list[Query] = []
        for line in lines:
            # Amounts stand in the query as they are written; %(x)s would need a float of ours.
            for amount in (line.amount, line.taxes):
                assert re.fullmatch(r"-?\d+(\.\d+)?", amount), amount
            queries.append(
                (
                    (
                        f"INSERT ExpenseLine L: L title %(title)s, L diem %(day)s, L type %(type)s, L amount {line.amount},"
                        f" L taxes {line.taxes}, L currency %(currency)s, L taxes_currency %(currency)s, L paid_by B,"
                        " L paid_for F WHERE B is PaidByAccount, B label %(by)s, F is PaidForAccount, F label %(for)s"
                    ),
                    {
                        "title": line.title,
                        "day": line.day.isoformat(),
                        "type": line.type,
                        "currency": line.currency,
                        "by": line.paid_by,
                        "for": line.paid_for,
                    },
                )
            )
        queries.append(
            ("INSERT Expense X: X title %(title)s, X has_lines L WHERE L eid %(l)s", {"title": title, "l": _row_of(0)})
        )
        for number in range(1, len(lines)):
            queries.append(
                (
                    "SET X has_lines L WHERE X eid %(x)s, L eid %(l)s",
                    {"x": _row_of(len(lines)), "l": _row_of(number)},
                )
            )
        rows = self.rql(*queries, by=by)
        return int(rows[len(lines)][0][0])

    def submit(self, *eids: int, by: str = "E017") -> None:
        """The employee hands it in."""
        self._move(eids, "submit", by)

    def accept(self, *eids: int) -> None:
        """A manager accepts it."""
        self._move(eids, "accept", "admin")

    def hand_in(self, title: str, lines: Sequence[Line], by: str = "E017") -> int:
        """Created, submitted and accepted."""
        eid = self.create(title, lines, by)
        self.submit(eid, by=by)
        self.accept(eid)
        return eid

    def edit_line(self, eid: int, index: int = 0, amount: str = "100.00", taxes: str | None = None) -> None:
        """A manager corrects a line; the OA lets managers do that after acceptance, too."""
        line = self.rql(("Any L ORDERBY L WHERE X eid %(x)s, X has_lines L", {"x": eid}))[0][index][0]
        also = f", L taxes {taxes}" if taxes is not None else ""
        self.rql((f"SET L amount {amount}{also} WHERE L eid %(l)s", {"l": line}), by="admin")

    def take_back(self, eid: int) -> None:
        """A manager sets an expense back to draft."""
        self.rql(
            (
                (
                    "INSERT TrInfo T: T wf_info_for X, T to_state S WHERE X eid %(x)s, S name 'draft', S state_of W,"
                    " W name 'expense workflow'"
                ),
                {"x": eid},
            ),
            by="admin",
        )

    def delete(self, eid: int) -> None:
        """A manager deletes an expense."""
        self.rql(("DELETE Expense X WHERE X eid %(x)s", {"x": eid}), by="admin")

    # What the OA holds

    def state(self, eid: int) -> str:
        """draft, submitted or accepted."""
        return str(self.rql(("Any N WHERE X eid %(x)s, X in_state S, S name N", {"x": eid}))[0][0][0])

    def notes(self, eid: int) -> list[str]:
        """The lines of the description: what the connector told."""
        ((description,),) = self.rql(("Any D WHERE X eid %(x)s, X description D", {"x": eid}))[0]
        return (description or "").splitlines()

    def modified_at(self, eid: int) -> datetime:
        """When the OA says the expense was modified."""
        ((text,),) = self.rql(("Any M WHERE X eid %(x)s, X modification_date M", {"x": eid}))[0]
        return datetime.fromisoformat(text)

    def rql(self, *queries: Query, by: str = "connector") -> list[list[list[Any]]]:
        """The rows of each query, all in one transaction, as the person `by`. Raises Refused."""
        body = json.dumps([{"query": text, "params": dict(values)} for text, values in queries]).encode()
        answers = [self._post(body, by)]

        def settled() -> bool:
            # Two writers of a SQLite database: one is answered 500 and nothing of its transaction is left.
            if answers[-1].status_code == 500:
                answers.append(self._post(body, by))
            return answers[-1].status_code != 500

        until(settled, LOCKED_S, lambda: f"the OA answers: {answers[-1].text[:500]}", 0.2)
        if answers[-1].status_code != 200:
            raise Refused(f"HTTP {answers[-1].status_code} {answers[-1].text[:500]}")
        return [result["rows"] for result in answers[-1].json()["result_sets"]]

    def _post(self, body: bytes, by: str) -> httpx2.Response:
        url = f"{self.url}/api/v1/rql"
        signed = {
            "Content-SHA512": hashlib.sha512(body).hexdigest(),
            "Content-Type": "application/json",
            "Date": formatdate(usegmt=True),
        }
        token_id = self.token_id if by == "admin" else by
        text = "".join(["POST", url, *signed.values()])
        signature = hmac.new(self.tokens[token_id].encode(), text.encode(), hashlib.sha512).hexdigest()
        headers = {**signed, "X-Client-Name": "tests", "Authorization": f"Cubicweb {token_id}:{signature}"}
        return self.client.post(url, content=body, headers=headers)

    def _move(self, eids: Sequence[int], transition: str, by: str) -> None:
        query = "INSERT TrInfo T: T wf_info_for X, T by_transition TR WHERE X eid %(x)s, TR name %(t)s"
        self.rql(*[(query, {"x": eid, "t": transition}) for eid in eids], by=by)


def _row_of(query: int) -> dict[str, Any]:
    return {"type": "query_reference", "queryIndex": query, "row": 0, "column": 0}


@contextmanager
def running() -> Iterator[Cubicweb]:
    """An OA of this run with 20 employees (E001 to E020) and nothing handed in yet. Raises real.NotInstalled."""
    programs = real.programs("cubicweb")
    folder, port = temporary_folder("cubicweb"), free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        "CW_MODE": "user",
        "CW_INSTANCE": INSTANCE,
        "CW_INSTANCES_DIR": str(folder / "instances"),
        "CW_INSTANCES_DATA_DIR": str(folder / "data"),
        "CW_RUNTIME_DIR": str(folder / "run"),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    tokens: dict[str, str] = {}
    server = Private(
        "cubicweb-expense",
        url,
        [
            *(str(programs / "waitress-serve"), "--listen", f"127.0.0.1:{port}"),
            *("--call", "cubicweb.pyramid:wsgi_application"),
        ],
        port,
        folder,
        ready=lambda: _answers(url),
        prepare=lambda: tokens.update(_make(folder, url, env)),
        env=env,
    )
    with server, httpx2.Client(timeout=30, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
        yield Cubicweb(server, client, tokens)


def _make(folder: Path, url: str, env: Mapping[str, str]) -> dict[str, str]:
    """Makes the instance and its database; the tokens by login."""

    def ctl(*arguments: str) -> str:
        done = subprocess.run(
            ["cubicweb-ctl", *arguments], env={**os.environ, **env}, cwd=folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"cubicweb-ctl {arguments[0]}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout

    for name in ("instances", "data", "run"):
        (folder / name).mkdir(exist_ok=True)
    ctl("create", "expense,api,signedrequest", INSTANCE, "--automatic", "--no-db-create")
    home = folder / "instances" / INSTANCE
    database = {"db-driver": "sqlite", "db-name": folder / "data" / "expense.sqlite", "db-host": "", "db-user": ""}
    _set(home / "sources", {**database, "password": "admin-pw-1"})
    _set(home / "all-in-one.conf", {"host": "127.0.0.1", "base-url": f"{url}/", "log-file": folder / "run" / "log"})
    settings = home / "pyramid.ini"
    settings.write_text(settings.read_text().replace("enable_csrf = yes", "enable_csrf = no"))
    ctl("db-create", INSTANCE, "--automatic")
    said = ctl("shell", INSTANCE, str(SEED))
    return json.loads(next(line for line in said.splitlines() if line.startswith("{")))


def _set(file: Path, values: Mapping[str, object]) -> None:
    text = file.read_text()
    for name, value in values.items():
        text = re.sub(rf"^#?{re.escape(name)}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    file.write_text(text)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/api/v1/schema", timeout=5).status_code < 500
    except httpx2.TransportError:
        return False
