"""Tryton 8.2 as an ERP: vouchers become posted account moves that carry our reference as their description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from connector.adapter import Change, Delivery, Features, Outcome, Page, Receipt
from connector.erp.tryton_errors import Fault
from connector.erp.tryton_errors import classify as classify_fault
from connector.erp.tryton_feed import Feed
from connector.erp.tryton_masters import Masters
from connector.erp.tryton_rpc import TrytonClient
from connector.errors import ConnectorError, Misconfigured, Rejected, Unavailable
from connector.http import HttpClient
from connector.outcomes import outcome_of
from connector.retry import call
from connector.settings import Retry, System
from contracts.amount import decimal_text, quantum
from contracts.findings import Finding, Refused
from contracts.voucher import Voucher

FIELDS = ["number", "state", "date", "description"]
RECONCILED_ASKS_MAX = 4
LINE_FIELDS = ["lines.account", "lines.party", "lines.debit", "lines.credit"]
Answer = Receipt | Outcome

# Tryton numbers moves under a lock per journal sequence; whoever meets it is answered 503 and succeeds a moment later.
LOCKED = Retry(call_attempts=5, call_wait_s=0.5, call_total_s=15)


@dataclass(frozen=True, slots=True)
class Work:
    """A delivery on its way: its place in the batch and the values of its move."""

    place: int
    delivery: Delivery
    values: dict[str, Any]

    @property
    def reference(self) -> str:
        return self.delivery.reference


class Tryton:
    """One company in one Tryton database. Needs PostgreSQL under it: on SQLite Tryton posts unbalanced moves.

    Settings: `url` (http://host:port), `user`, `password`; options `database` (required), `journal` (code, default
    EXP), `company_id` (default: the user's company), `ca_file`, `proxy`.
    """

    name = "tryton"
    features = Features(
        poll=True, deliver=True, batch=100, atomic_post=False, unique_reference=False, reversal="native", settle_s=90
    )

    def __init__(self, system: System) -> None:
        options = dict(system.options)
        if not (system.url and system.user and system.password and options.get("database")):
            raise Misconfigured("the tryton adapter needs url, user, password and options.database")
        self.company = system.company
        password = system.password.get_secret_value()
        http = HttpClient(system.url, secrets=[password], proxy=options.get("proxy"), ca_file=options.get("ca_file"))
        company_id = int(options["company_id"]) if "company_id" in options else None
        self._client = TrytonClient(http, options["database"], system.user, password, company_id)
        self._masters = Masters(self._client, options.get("journal", "EXP"))
        self._feed = Feed(self._client, system.company)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Change]:
        """Tryton pushes nothing."""
        raise Refused(Finding("CON-114", "", "no push: Tryton is polled", "a request", "use another adapter's door"))

    def poll(self, cursor: str | None) -> Page:
        """Our moves that were posted or cancelled, and employees that changed."""
        with _faults_as_errors():
            return self._feed.page(cursor)

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Answer]:
        """Creates and posts in lists. What is there already under a reference is finished or adopted, never repeated."""
        answers: dict[int, Answer] = {}
        work: list[Work] = []
        vouchers = [d.payload for d in batch if isinstance(d.payload, Voucher) and d.reverses is None]
        try:
            self._masters.load(vouchers)
            for place, delivery in enumerate(batch):
                if delivery.reverses is not None:
                    answers[place] = self.reverse(delivery)
                elif isinstance(delivery.payload, Voucher):
                    values = self._masters.move(delivery.payload)
                    if isinstance(values, Outcome):
                        answers[place] = values
                    else:
                        work.append(Work(place, delivery, values))
                else:
                    answers[place] = Outcome("permanent", "ERP-401", "Tryton takes vouchers, not statuses")
            for start in range(0, len(work), self.features.batch):
                answers.update(self._deliver(work[start : start + self.features.batch]))
        except (Fault, ConnectorError) as error:
            # Raised by a read before anything of these was written: none of the rest was begun.
            outcome = self.classify(error)
            answers.update({place: outcome for place in range(len(batch)) if place not in answers})
        return [answers[place] for place in range(len(batch))]

    def find(self, reference: str) -> Receipt | None:
        """The move with our reference: the posted one before a draft."""
        with _faults_as_errors():
            moves = self._moves([reference]).get(reference)
            if not moves:
                return None
            cancelled = self._cancellations([move["id"] for move in moves if move["state"] == "posted"])
            return self._receipt(moves[0], cancelled=moves[0]["id"] in cancelled)

    def reverse(self, delivery: Delivery) -> Answer:
        """Takes the move back as a red-letter move, same sides and negative amounts: with Tryton's own wizard, or, where its
        period is closed, as a voucher of its own on the day of the reversal."""
        if delivery.reverses is None:
            return Outcome("permanent", "ERP-422", "the delivery does not say what it reverses")
        try:
            return self._reverse(delivery, delivery.reverses)
        except (Fault, ConnectorError) as error:
            outcome = self.classify(error)
            if outcome.code == "ERP-421" and 1 < delivery.attempt <= RECONCILED_ASKS_MAX:
                # What reconciled it may be our own earlier call, still at work when its worker died: ask again later.
                return replace(outcome, kind="ambiguous")
            return outcome

    def classify(self, error: BaseException) -> Outcome:
        """Tryton's faults by the table, ours by their class."""
        if isinstance(error, Fault):
            return classify_fault(error)
        if isinstance(error, ConnectorError):
            return outcome_of(error)
        return Outcome("ambiguous", "ERP-502", f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Gives back connections."""
        self._client.close()

    def _deliver(self, work: Sequence[Work]) -> dict[int, Answer]:
        answers: dict[int, Answer] = {}
        drafts: dict[int, Work] = {}
        found = self._moves({item.reference for item in work})
        first: dict[str, Work] = {}
        create: list[Work] = []
        for item in work:
            if item.reference in found:
                self._adopt(item, found[item.reference][0], answers, drafts)
            elif item.reference not in first:
                first[item.reference] = item
                create.append(item)
        created = self._create(create, answers)
        try:
            self._step_back(created, answers)
            drafts.update(created)
            self._post(drafts, answers)
            self._read_back(drafts, answers)
        except (Fault, ConnectorError) as error:
            # Something was written and we could not look: whether it counts must be asked later.
            lost = self.classify(error)
            unsure = Outcome("ambiguous", lost.code, lost.message) if lost.kind in ("transient", "auth") else lost
            answers.update(
                {item.place: unsure for item in (*drafts.values(), *created.values()) if item.place not in answers}
            )
        for (
            item
        ) in work:  # The same reference twice in one batch: one effect, the same answer, unless it says other things.
            if item.place not in answers:
                other = first[item.reference]
                same = _content(item.values["lines"][0][1]) == _content(other.values["lines"][0][1])
                answers[item.place] = answers[other.place] if same else _differs(item.reference, None)
        return answers

    def _adopt(self, item: Work, move: dict[str, Any], answers: dict[int, Answer], drafts: dict[int, Work]) -> None:
        """Decides what to do with a move that carries our reference already."""
        same = _content(move["lines."]) == _content(item.values["lines"][0][1]) and move["date"] == item.values["date"]
        if not same:
            answers[item.place] = _differs(item.reference, str(move["id"]))
        elif move["state"] == "posted":
            answers[item.place] = self._receipt(move)
        else:
            drafts[move["id"]] = item

    def _create(self, work: Sequence[Work], answers: dict[int, Answer]) -> dict[int, Work]:
        """Creates drafts in one call, which is atomic; where it is refused, halves isolate the culprit."""
        if not work:
            return {}
        try:
            ids = self._client.call("model.account.move.create", [item.values for item in work])
            return dict(zip(ids, work, strict=True))
        except (Fault, ConnectorError) as error:
            outcome = self.classify(error)
            if len(work) > 1 and outcome.kind in ("permanent", "conflict", "duplicate"):
                middle = len(work) // 2
                return {**self._create(work[:middle], answers), **self._create(work[middle:], answers)}
            answers.update({item.place: self._explain(item, outcome) for item in work})
            return {}

    def _step_back(self, created: dict[int, Work], answers: dict[int, Answer]) -> None:
        """Tryton has no unique key on moves. So whoever created a draft looks whether another one appeared under its
        reference meanwhile (a paused worker that woke up, say), and if so deletes its own: of two, at most one counts."""
        if not created:
            return
        there = self._moves({item.reference for item in created.values()}, lines=())
        for move_id, item in list(created.items()):
            others = [move for move in there.get(item.reference, ()) if move["id"] != move_id]
            if not others and there.get(item.reference):
                continue
            del created[move_id]
            if not others:
                answers[item.place] = Outcome(
                    "ambiguous", "ERP-404", f"Tryton answered for another document than {item.reference}"
                )
                continue
            self._discard([move_id])
            answers[item.place] = Outcome(
                "transient", "ERP-507", f"{item.reference} was delivered by someone else at the same time"
            )

    def _post(self, drafts: Mapping[int, Work], answers: dict[int, Answer]) -> None:
        """Posts drafts in one call; where it is refused, halves isolate the culprit and its draft is taken away."""
        if not drafts:
            return
        try:
            # Posting a posted move is refused, so asking again after "nothing was done" is safe.
            call(lambda: self._client_post(list(drafts)), on=Unavailable, retry=LOCKED)
        except (Fault, ConnectorError) as error:
            outcome = self.classify(error)
            if outcome.kind == "duplicate" and len(drafts) == 1:
                return  # Posted already, by an earlier try or another worker: reading back tells.
            if len(drafts) > 1 and outcome.kind in ("permanent", "conflict", "duplicate"):
                ids, middle = list(drafts), len(drafts) // 2
                self._post({move: drafts[move] for move in ids[:middle]}, answers)
                self._post({move: drafts[move] for move in ids[middle:]}, answers)
                return
            answers.update({item.place: self._explain(item, outcome) for item in drafts.values()})
            if outcome.kind == "permanent":
                self._discard(drafts)

    def _client_post(self, ids: list[int]) -> None:
        try:
            self._client.call("model.account.move.post", ids)
        except Fault as fault:
            outcome = classify_fault(fault)
            if outcome.kind == "transient":
                raise Unavailable(outcome.message, code=outcome.code, retry_after_s=outcome.retry_after_s) from fault
            raise

    def _read_back(self, drafts: Mapping[int, Work], answers: dict[int, Answer]) -> None:
        """A receipt for what Tryton itself now says it holds."""
        asked = {item.reference for item in drafts.values() if item.place not in answers}
        moves = {move["id"]: move for group in self._moves(asked, ["lines.debit"]).values() for move in group}
        for move_id, item in drafts.items():
            if item.place in answers:
                continue
            move = moves.get(move_id)
            if move is not None and move["state"] == "posted":
                answers[item.place] = self._receipt(move)
            else:
                answers[item.place] = Outcome(
                    "ambiguous", "ERP-404", f"Tryton does not show {item.reference} as posted"
                )

    def _reverse(self, delivery: Delivery, original: Receipt) -> Answer:
        reference, move_id = delivery.reference, int(original.external_id)
        undone = self._undone(reference, move_id)
        if undone is None:
            fields = [*FIELDS, "period.state"]
            rows = self._client.read("model.account.move.search_read", [["id", "=", move_id]], 0, 1, None, fields)
            if not rows:
                return Outcome("permanent", "ERP-422", f"Tryton has no move {move_id} to reverse")
            if rows[0]["state"] != "posted" or rows[0]["description"] != original.reference:
                message = f"move {move_id} is not the posted {original.reference}, so it is not reversed"
                return Outcome("conflict", "ERP-419", message, external_id=str(move_id))
            if rows[0]["period."]["state"] == "open":
                self._cancel(reference, move_id)
            else:
                refusal = self._write_red_letter(delivery, move_id)
                if refusal is not None:
                    return refusal
            undone = self._undone(reference, move_id)
        if undone is None:
            return Outcome("ambiguous", "ERP-404", f"Tryton does not show the reversal {reference}")
        ours = undone["description"] == reference
        if undone["state"] != "posted":
            if not ours:
                message = f"somebody drafted another reversal of {original.reference} in Tryton"
                return Outcome("conflict", "ERP-419", message, external_id=str(undone["id"]))
            self._client_post([undone["id"]])
            undone = {**undone, **self._client.read("model.account.move.read", [undone["id"]], FIELDS)[0]}
        receipt = self._receipt(undone)
        if ours:
            return receipt
        # An accountant cancelled it by hand: the effect is the one wanted, so it is adopted and named as theirs.
        details = {"adopted": "cancelled by hand", "description": undone["description"] or ""}
        return replace(receipt, reference=reference, details=details)

    def _undone(self, reference: str, move_id: int) -> dict[str, Any] | None:
        """The move that takes this one back, whoever made it."""
        return next(iter(self._reversals(reference, move_id)), None)

    def _reversals(self, reference: str, move_id: int) -> list[dict[str, Any]]:
        """The moves that take this one back, by what they name or by our reference."""
        return [*self._cancellations([move_id]).get(move_id, ()), *self._moves([reference]).get(reference, ())]

    def _cancel(self, reference: str, move_id: int) -> None:
        """Tryton's own wizard: it copies the move with negative amounts, posts it and reconciles both."""
        session, *_ = self._client.call("wizard.account.move.cancel.create")
        form = {"default": {"description": reference, "reversal": False}}
        context = {"active_model": "account.move", "active_id": move_id, "active_ids": [move_id]}
        self._client.call("wizard.account.move.cancel.execute", session, form, "cancel", context=context)

    def _write_red_letter(self, delivery: Delivery, move_id: int) -> Outcome | None:
        """Where the period of the move is closed the wizard would book today, whatever day was decided. So the red-letter
        voucher is written as it is, on its own day, with the move it takes back as its origin."""
        voucher = delivery.payload
        if not isinstance(voucher, Voucher):
            return Outcome("permanent", "ERP-401", "a reversal carries its red-letter voucher")
        self._masters.load([voucher])
        values = self._masters.move(voucher)
        if isinstance(values, Outcome):
            return values
        created = self._client.call("model.account.move.create", [{**values, "origin": f"account.move,{move_id}"}])
        if all(move["id"] in created for move in self._reversals(delivery.reference, move_id)):
            self._client_post(created)
        else:
            self._discard(created)  # Somebody else took it back meanwhile: as in `_step_back`, theirs counts.
        return None

    def _moves(self, references: Iterable[str], lines: Sequence[str] = LINE_FIELDS) -> dict[str, list[dict[str, Any]]]:
        """Moves by our reference, posted ones first, then the oldest."""
        wanted = sorted(set(references))
        if not wanted:
            return {}
        domain = [["description", "in", wanted], ["company", "=", self._client.company_id]]
        fields = [*FIELDS, *lines]
        rows = self._client.read("model.account.move.search_read", domain, 0, None, [["id", "ASC"]], fields)
        found: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(rows, key=lambda row: (row["state"] != "posted", row["id"])):
            found.setdefault(row["description"], []).append(row)
        return found

    def _cancellations(self, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """The moves that cancel these, oldest first, by the id of the cancelled one."""
        if not ids:
            return {}
        domain = [["origin", "in", [f"account.move,{move_id}" for move_id in ids]]]
        fields = [*FIELDS, *LINE_FIELDS, "origin"]
        rows = self._client.read("model.account.move.search_read", domain, 0, None, [["id", "ASC"]], fields)
        found: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            found.setdefault(int(row["origin"].split(",")[1]), []).append(row)
        return found

    def _discard(self, ids: Iterable[int]) -> None:
        """Takes drafts away. Where that fails a draft stays, which counts nowhere and is found by its reference."""
        try:
            self._client.call("model.account.move.delete", list(ids))
        except (Fault, ConnectorError):
            return

    def _explain(self, item: Work, outcome: Outcome) -> Outcome:
        """Names the period where Tryton only says that the date does not fit, and asks for it afresh next time."""
        if outcome.code not in ("ERP-402", "ERP-414"):
            return outcome
        day = item.values["date"].isoformat()
        self._masters.periods.forget(day)
        return Outcome(
            outcome.kind,
            "ERP-402",
            f"the period of {day} is closed in Tryton ({outcome.message})",
            field=f"period:{day}",
        )

    def _receipt(self, move: Mapping[str, Any], cancelled: bool = False) -> Receipt:
        currency = self._masters.company().currency
        total = sum((line["debit"] for line in move["lines."]), Decimal(0)) if "lines." in move else None
        return Receipt(
            reference=move["description"] or "",
            external_id=str(move["id"]),
            number=move["number"],
            state="cancelled" if cancelled else "posted" if move["state"] == "posted" else "draft",
            posted_on=move["date"],
            total=None if total is None else decimal_text(total, quantum(currency)),
            currency=currency,
        )


def _content(lines: Iterable[Mapping[str, Any]]) -> list[tuple[int, Decimal, Decimal, int]]:
    """What makes two moves the same: accounts, amounts and parties, in any order."""
    return sorted((line["account"], line["debit"], line["credit"], line.get("party") or 0) for line in lines)


def _differs(reference: str, external_id: str | None) -> Outcome:
    message = f"{reference} is in Tryton already with other content"
    return Outcome("conflict", "ERP-409", message, external_id=external_id)


@contextmanager
def _faults_as_errors() -> Iterator[None]:
    """Inside it a Fault becomes the ConnectorError that callers of `find` and `poll` know."""
    try:
        yield
    except Fault as error:
        outcome = classify_fault(error)
        # Reading changes nothing, so a lost answer only means: ask again.
        again = outcome.kind in ("transient", "ambiguous")
        raise (Unavailable if again else Rejected)(outcome.message, code=outcome.code) from error
