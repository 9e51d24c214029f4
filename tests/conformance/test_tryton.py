"""The adapter of Tryton keeps what every ERP adapter promises, against a real server on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from pydantic import SecretStr

from connector.adapter import Adapter, Delivery, Outcome
from connector.erp.tryton import Tryton
from connector.erp.tryton_rpc import TrytonClient
from connector.http import HttpClient
from connector.settings import System
from connector.testing.conformance import ErpConformance, ErpRig, deliver, faults, reversal, warmed
from connector.testing.http_faults import HttpFault, HttpFaults
from connector.testing.suite import drained, posted

pytestmark = pytest.mark.e2e


def calls(method: str) -> Any:
    return lambda path, body: f'"model.account.move.{method}"'.encode() in body


def calls_login(path: str, body: bytes) -> bool:
    return b'"common.db.login"' in body


def oracle(server: Any) -> TrytonClient:
    """A session of the administrator, beside the adapter under test."""
    return TrytonClient(HttpClient(server.url), server.database, server.admin_user, server.admin_password)


def live_moves(admin: TrytonClient, reference: str) -> int:
    """Posted moves with the reference, less those that cancel one of them."""
    posted = admin.read(
        "model.account.move.search", [["description", "=", reference], ["state", "=", "posted"]], 0, None, None
    )
    origins = [f"account.move,{move}" for move in posted]
    undone = admin.read(
        "model.account.move.search", [["origin", "in", origins], ["state", "=", "posted"]], 0, None, None
    )
    return len(posted) - len(undone)


class TestTryton(ErpConformance):
    features = Tryton.features

    @pytest.fixture
    def rig(self, tryton: Any) -> Iterator[ErpRig]:
        admin = oracle(tryton)
        period = admin.read("model.account.period.search", [["name", "=", "2026-01"]], 0, 1, None)
        if admin.read("model.account.period.read", period, ["state"])[0]["state"] == "open":
            admin.call("model.account.period.close", period)

        with HttpFaults(tryton.url, label=calls_login) as faults:

            def open_adapter(url: str = faults.url, password: str = tryton.password) -> Adapter:
                options = {"database": tryton.database}
                return Tryton(
                    System(
                        adapter="tryton",
                        company="C01",
                        url=url,
                        user=tryton.user,
                        password=SecretStr(password),
                        options=options,
                    )
                )

            with ErpRig(
                make=open_adapter,
                live=lambda reference: live_moves(admin, reference),
                closed_day=date(2026, 1, 24),
                faults=faults,
                creates=calls("create"),
                posts=calls("post"),
                logins=lambda: faults.labelled,
            ) as rig:
                yield rig
        admin.close()

    @pytest.fixture
    def february(self, tryton: Any) -> Iterator[Callable[[], None]]:
        """Closes February in the ERP; it is open again after the test."""
        admin = oracle(tryton)
        period = admin.read("model.account.period.search", [["name", "=", "2026-02"]], 0, 1, None)

        def open_again() -> None:
            for model, link in (("account.period", "id"), ("account.journal.period", "period")):
                domain = [[link, "in", period], ["state", "=", "closed"]]
                admin.call(f"model.{model}.reopen", admin.read(f"model.{model}.search", domain, 0, None, None))

        open_again()
        yield lambda: admin.call("model.account.period.close", period)
        open_again()
        admin.close()

    def test_a_voucher_of_a_closed_period_is_reversed_on_the_day_of_its_reversal(
        self, rig: ErpRig, february: Callable[[], None]
    ) -> None:
        adapter, voucher = rig.open(), rig.voucher("88.00", day=date(2026, 2, 10))
        receipt = posted(deliver(adapter, voucher))
        february()
        reference = f"{voucher.reference}-R"
        delivery = Delivery(reference, voucher.reversed(reference, date(2026, 3, 5)), 1, receipt)

        first, again = posted(adapter.reverse(delivery)), posted(rig.open().reverse(replace(delivery, attempt=2)))

        assert first.external_id == again.external_id
        assert (first.posted_on, first.total) == (date(2026, 3, 5), "-88.00")
        assert rig.live(voucher.reference) == 0

    def test_two_workers_that_take_back_a_voucher_of_a_closed_period_leave_one_red_letter(
        self, rig: ErpRig, february: Callable[[], None]
    ) -> None:
        adapter, voucher = rig.open(), rig.voucher("88.00", day=date(2026, 2, 10))
        receipt = posted(deliver(adapter, voucher))
        february()
        reference = f"{voucher.reference}-R"
        delivery = Delivery(reference, voucher.reversed(reference, date(2026, 3, 5)), 1, receipt)
        others: list[Any] = []
        faults(rig).meanwhile(rig.creates, lambda: others.append(rig.open().reverse(replace(delivery, attempt=2))))

        woken = posted(adapter.reverse(delivery))

        assert woken == posted(others[0])
        assert (rig.live(voucher.reference), rig.live(reference)) == (0, 1)

    def test_a_period_closed_after_the_lookup_is_named_all_the_same(
        self, rig: ErpRig, february: Callable[[], None]
    ) -> None:
        adapter = rig.open()
        posted(deliver(adapter, rig.voucher(day=date(2026, 2, 10))))
        february()

        answer = deliver(adapter, rig.voucher(day=date(2026, 2, 10)))

        assert isinstance(answer, Outcome)
        assert (answer.kind, answer.code, answer.field) == ("permanent", "ERP-402", "period:2026-02-10")

    def test_a_reversal_made_by_hand_is_adopted(self, rig: ErpRig, tryton: Any) -> None:
        admin, adapter, voucher = oracle(tryton), rig.open(), rig.voucher()
        receipt = posted(deliver(adapter, voucher))
        move = int(receipt.external_id)
        session, *_ = admin.call("wizard.account.move.cancel.create")
        context = {"active_model": "account.move", "active_id": move, "active_ids": [move]}
        form = {"default": {"description": "冲错了", "reversal": True}}
        admin.call("wizard.account.move.cancel.execute", session, form, "cancel", context=context)

        undone = posted(adapter.reverse(reversal(voucher, receipt)))

        assert undone.details["adopted"] == "cancelled by hand"
        assert rig.live(voucher.reference) == 0
        admin.close()

    def test_a_locked_sequence_is_waited_for_inside_the_call(self, rig: ErpRig) -> None:
        adapter, voucher = warmed(rig), rig.voucher()
        faults(rig).next("503", rig.posts, times=2)

        receipt = posted(deliver(adapter, voucher))

        assert receipt.number is not None
        assert rig.live(voucher.reference) == 1

    def test_a_database_that_is_down_at_login_is_transient(self, rig: ErpRig) -> None:
        answers_down: tuple[HttpFault, ...] = ("404", "503", "504")
        for fault in answers_down:
            faults(rig).next(fault, calls_login)

            answer = deliver(rig.open(), rig.voucher())

            assert isinstance(answer, Outcome)
            assert (answer.kind, answer.code) == ("transient", "ERP-504")

    def test_a_voucher_the_server_refuses_at_posting_leaves_no_draft(self, rig: ErpRig) -> None:
        adapter, voucher = warmed(rig), rig.voucher()
        faults(rig).refusal = b'{"id": 1, "error": ["UserError", ["Something Tryton has not said before.", "", null]]}'
        faults(rig).next("refuse", rig.posts)

        answer = deliver(adapter, voucher)

        assert isinstance(answer, Outcome)
        assert answer.kind == "permanent"
        assert adapter.find(voucher.reference) is None

    def test_a_party_that_is_not_there_is_permanent_and_named(self, rig: ErpRig) -> None:
        rig.employee = "E099"

        answer = deliver(rig.open(), rig.voucher())

        assert isinstance(answer, Outcome)
        assert (answer.kind, answer.code, answer.field) == ("permanent", "ERP-412", "party:E099")

    def test_a_changed_employee_is_told(self, rig: ErpRig, tryton: Any) -> None:
        admin, adapter = oracle(tryton), rig.open()
        cursor = drained(adapter, None)[1]
        party = admin.read("model.party.party.search_read", [["code", "=", "E002"]], 0, 1, None, ["name"])[0]
        admin.call("model.party.party.write", [party["id"]], {"name": f"{party['name']}·"})

        changes = drained(adapter, cursor)[0]

        (event,) = [change.event for change in changes if change.event.type == "master.employee.changed.v1"]
        assert (event.data.id, event.data.name) == ("E002", f"{party['name']}·")
        admin.call("model.party.party.write", [party["id"]], {"name": party["name"]})
        admin.close()
