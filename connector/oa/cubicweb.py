"""cubicweb-expense as an OA: polled for accepted expenses, and told in their description what became of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from connector.adapter import Change, Delivery, Features, Outcome, Page, Receipt, RefusedChange, Status
from connector.delta import Delta, Key, Row
from connector.errors import ConnectorError, Misconfigured, Rejected
from connector.http import HttpClient
from connector.oa.cubicweb_report import Accepted, Naming, report_of
from connector.oa.cubicweb_rql import CubicwebClient, as_parameter, moment
from connector.outcomes import outcome_of
from connector.settings import System
from contracts import Withdrawal, new_event
from contracts.findings import Finding, Refused

OVERLAP_S = 60  # CubicWeb stamps rows before their transaction commits.
LIMIT = 50
WATCHED_MAX = 300  # The newest accepted expenses whose deletion is noticed; reconciliation finds older ones.
_AFTER = "({0} modification_date > %(at)s) OR ({0} modification_date = %(at)s, {0} eid > %(eid)s)"


class Cubicweb:
    """One instance of cubicweb-expense. It numbers no versions, so every change is `unnumbered`: the ledger counts.

    Settings: `url`, `user` (token id), `password` (token); options `department` (required: the OA has none),
    `currency` (CNY), `number` (`eid`: EX1142, or `title` where titles are unique), `time_zone` (Asia/Shanghai),
    `signed_url`, `employee.<login>`, `department.<login>`, `category.<type>`, `paid_by.<label>`, `certified` (no).
    """

    name = "cubicweb"
    features = Features(poll=True, deliver=True, batch=20, unique_reference=True, settle_s=35, reference_max=200)

    def __init__(self, system: System) -> None:
        options = dict(system.options)
        if not (system.url and system.user and system.password and options.get("department")):
            raise Misconfigured(
                "the cubicweb adapter needs url, user (token id), password (token) and options.department"
            )
        if options.get("number", "eid") not in ("eid", "title"):
            raise Misconfigured("options.number of the cubicweb adapter is eid or title")
        self.company = system.company
        token = system.password.get_secret_value()
        http = HttpClient(system.url, secrets=[token], proxy=options.get("proxy"), ca_file=options.get("ca_file"))
        self._client = CubicwebClient(http, system.user, token, options.get("signed_url") or system.url)
        self._by_title = options.get("number") == "title"
        self._naming = Naming.from_options(system.company, options)
        self._zone = ZoneInfo(options.get("time_zone", "Asia/Shanghai"))
        self._delta = Delta({"expenses": self._expenses, "lines": self._lines}, overlap_s=OVERLAP_S, limit=LIMIT)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Change]:
        """CubicWeb pushes nothing."""
        raise Refused(Finding("CON-114", "", "no push: cubicweb is polled", "a request", "use another adapter's door"))

    def poll(self, cursor: str | None) -> Page:
        """Accepted, un-accepted and deleted expenses since the cursor, oldest first. One that cannot be told exactly is
        in `refused`, with what the OA holds."""
        feed, watched = _read(cursor)
        rows, feed, more = self._delta.page(feed)
        seen: dict[int, datetime] = {}
        for _, row in rows:
            eid = int(row.data)
            seen[eid] = max(seen.get(eid, row.key.at), row.key.at)
        changes: list[Change] = []
        refused: list[RefusedChange] = []
        details = self._details(list(seen))
        for eid in sorted(seen, key=lambda eid: (seen[eid], eid)):
            found = details.get(eid)
            if found is None:
                continue  # Deleted or moved meanwhile: the watch below tells, or the next page.
            self._tell(found, changes, refused)
            if found.state == "accepted":
                watched[eid] = (self._number(found), found.modified_at)
            else:
                watched.pop(eid, None)
        changes += self._deleted(watched)
        watched = dict(sorted(watched.items(), key=lambda item: item[1][1])[-WATCHED_MAX:])
        return Page(changes, _written(feed, watched), more, refused)

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Receipt | Outcome]:
        """Adds one line to the description of each expense; a line that is there already is not added again."""
        answers: list[Receipt | Outcome] = []
        for delivery in batch:
            try:
                answers.append(self._note(delivery))
            except ConnectorError as error:
                answers.append(self.classify(error))
        return answers

    def find(self, reference: str) -> Receipt | None:
        """Whether a status stands in some description, by its reference."""
        rows = self._client.read(
            "Any X LIMIT 1 WHERE X is Expense, X description ~= %(mark)s", mark=f"%{_mark(reference)}%"
        )
        return Receipt(reference, str(rows[0][0]), None, "posted") if rows else None

    def reverse(self, delivery: Delivery) -> Receipt | Outcome:
        """A status is never taken back: a later one says what is true now."""
        return Outcome("permanent", "OA-401", "a status in the OA is followed by another one, not reversed")

    def classify(self, error: BaseException) -> Outcome:
        """Our errors by their class; writing a status again leaves one, so a lost answer only means: again."""
        if not isinstance(error, ConnectorError):
            return Outcome("ambiguous", "OA-502", f"{type(error).__name__}: {error}")
        outcome = outcome_of(error)
        code = {"ERP-501": "OA-501", "ERP-502": "OA-502"}.get(outcome.code, outcome.code)
        kind = "transient" if outcome.kind == "ambiguous" else outcome.kind
        return Outcome(kind, code, outcome.message, retry_after_s=outcome.retry_after_s, field=outcome.field)

    def close(self) -> None:
        """Gives back connections."""
        self._client.close()

    # What changed

    def _expenses(self, after: Key, limit: int) -> Sequence[Row]:
        rows = self._client.read(
            f"Any X, M ORDERBY M, X LIMIT {limit} WHERE X is Expense, X modification_date M, {_AFTER.format('X')}",
            at=as_parameter(after.at), eid=after.id,
        )  # fmt: skip
        return [Row(Key(moment(at), eid), eid) for eid, at in rows]

    def _lines(self, after: Key, limit: int) -> Sequence[Row]:
        rows = self._client.read(
            f"Any L, M, X ORDERBY M, L LIMIT {limit} WHERE X is Expense, X has_lines L, L modification_date M, {_AFTER.format('L')}",
            at=as_parameter(after.at), eid=after.id,
        )  # fmt: skip
        return [Row(Key(moment(at), line), eid) for line, at, eid in rows]

    def _details(self, eids: Sequence[int]) -> dict[int, Accepted]:
        """What the OA holds about these expenses now; without those that somebody deletes or moves meanwhile."""
        if not eids:
            return {}
        listed = ", ".join(str(int(eid)) for eid in sorted(eids))
        only = f"X eid IN ({listed})" if len(eids) > 1 else f"X eid {listed}"
        heads = self._client.read(
            "Any X, T, N, M, UL, UF, US WHERE X is Expense, X title T, X in_state S, S name N, X modification_date M,"
            f" X created_by U?, U login UL, U firstname UF, U surname US, {only}"
        )
        before = self._steps(only)
        lines = self._client.read(
            "Any X, L, T, D, Y, A, TX, TC, C, R, PL, UL, UF, US ORDERBY X, L WHERE X is Expense, X has_lines L, L title T, L diem D,"
            " L type Y, L amount A, L taxes TX, L taxes_currency TC, L currency C, L exchange_rate R, L paid_by P, P label PL,"
            f" P associated_to U?, U login UL, U firstname UF, U surname US, {only}"
        )
        after = self._steps(only)
        # Lines read while somebody moved the expense may be what nobody accepted: the next page tells of it, moved.
        return {
            head[0]: Accepted.of(head, before.get(head[0], []), [line for line in lines if line[0] == head[0]])
            for head in heads
            if before.get(head[0]) == after.get(head[0])
        }

    def _steps(self, only: str) -> dict[int, list[list[Any]]]:
        """What was done to each expense in its workflow, in order."""
        steps: dict[int, list[list[Any]]] = {}
        for step in self._client.read(
            f"Any X, N, D ORDERBY X, I WHERE X is Expense, I wf_info_for X, I to_state S, S name N, I creation_date D, {only}"
        ):
            steps.setdefault(step[0], []).append(step)
        return steps

    def _tell(self, found: Accepted, changes: list[Change], refused: list[RefusedChange]) -> None:
        if found.state == "accepted":
            event_id = f"expense-{found.eid}-{found.fingerprint}"
            try:
                report = report_of(found, self._number(found), self._naming, self._zone)
                # The time of the last approval: asked again, the same content gives the same event.
                event = new_event(
                    "expense.report.approved.v1", report, id=event_id,
                    time=found.accepted_at or found.modified_at, system="oa", adapter="cubicweb",
                )  # fmt: skip
            except Refused as error:
                refused.append(RefusedChange(found.raw, error.findings, f"/oa/cubicweb/{self.company}", event_id))
            else:
                changes.append(Change(event, found.raw, unnumbered=True))
        elif found.accepted_at is not None:
            at = found.left_at or found.modified_at
            changes.append(
                self._withdrawn(self._number(found), found.eid, at, f"now {found.state} in the OA", found.raw)
            )

    def _deleted(self, watched: dict[int, tuple[str, datetime]]) -> list[Change]:
        """Withdrawals of watched expenses that are gone; every one still there was modified since it was noted, or then."""
        if not watched:
            return []
        oldest = min(at for _, at in watched.values())
        rows = self._client.read("Any X WHERE X is Expense, X modification_date >= %(at)s", at=as_parameter(oldest))
        there = {row[0] for row in rows}
        gone = sorted((at, eid, number) for eid, (number, at) in watched.items() if eid not in there)
        changes = []
        for at, eid, number in gone:
            raw = json.dumps({"eid": eid, "number": number, "deleted": True}).encode()
            changes.append(self._withdrawn(number, eid, at, "deleted in the OA", raw))
            del watched[eid]
        return changes

    def _withdrawn(self, number: str, eid: int, at: datetime, reason: str, raw: bytes) -> Change:
        data = Withdrawal(company=self.company, number=number, version=1, withdrawn_at=at, reason=reason)
        event = new_event(
            "expense.report.withdrawn.v1", data, id=f"expense-{eid}-withdrawn-{at:%Y%m%d%H%M%S%f}",
            time=at, system="oa", adapter="cubicweb",
        )  # fmt: skip
        return Change(event, raw, unnumbered=True)

    def _number(self, found: Accepted) -> str:
        return found.title if self._by_title else f"EX{found.eid}"

    # What is told

    def _note(self, delivery: Delivery) -> Receipt | Outcome:
        status = delivery.payload
        if not isinstance(status, Status):
            return Outcome("permanent", "OA-401", "an OA takes statuses, not vouchers")
        found = self._client.read(
            "Any X, D ORDERBY X LIMIT 2 WHERE X is Expense, X description D, " + ("X title %(key)s" if self._by_title else "X eid %(key)s"),
            key=status.number if self._by_title else _eid(status.number),
        )  # fmt: skip
        if len(found) != 1:
            many = "has several reports" if found else "has no report"
            return Outcome("permanent", "OA-402", f"the OA {many} {status.number}", field=f"report:{status.number}")
        eid, description = found[0]
        if _mark(delivery.reference) not in (description or ""):
            text = (
                f"{description}\n{_line(delivery.reference, status)}"
                if description
                else _line(delivery.reference, status)
            )
            # Compare and set: somebody who edits the description meanwhile loses nothing.
            old = "X description %(old)s" if description is not None else "X description NULL"
            params = {"text": text, "eid": eid, **({} if description is None else {"old": description})}
            changed = self._client.write((f"SET X description %(text)s WHERE X eid %(eid)s, {old}", params))
            if not changed[0]:
                return Outcome(
                    "transient", "OA-501", f"report {status.number} was edited at the same moment", retry_after_s=1
                )
        return Receipt(delivery.reference, str(eid), None, "posted")


def _line(reference: str, status: Status) -> str:
    """`[ERP] posted 记-0001 2026-11-24 v1 (C01-EX1142-V1)`: what people in the OA read."""
    parts = [
        "[ERP]",
        status.state,
        status.erp_number,
        status.on.isoformat() if status.on else None,
        f"v{status.version}",
    ]
    parts += [status.code, status.message]
    return f"{' '.join(part for part in parts if part)} {_mark(reference)}".replace("\n", " ")


def _mark(reference: str) -> str:
    return f"({reference})"


def _eid(number: str) -> int:
    if not number.startswith("EX") or not number[2:].isdigit():
        raise Rejected(f"{number} is not a report of this OA", code="OA-402", field=f"report:{number}")
    return int(number[2:])


def _read(cursor: str | None) -> tuple[str | None, dict[int, tuple[str, datetime]]]:
    if not cursor:
        return None, {}
    try:
        value = json.loads(cursor)
        return value["feed"], {
            int(eid): (number, datetime.fromisoformat(at)) for eid, (number, at) in value["watched"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Misconfigured(f"this is not a cursor of ours: {cursor[:80]!r}") from error


def _written(feed: str, watched: Mapping[int, tuple[str, datetime]]) -> str:
    kept = {str(eid): [number, at.isoformat()] for eid, (number, at) in sorted(watched.items())}
    return json.dumps({"feed": feed, "watched": kept}, separators=(",", ":"), ensure_ascii=False)
