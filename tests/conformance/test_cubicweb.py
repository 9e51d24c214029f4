"""The adapter of cubicweb-expense keeps what every OA adapter promises, against a real server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from connector.adapter import Adapter, Delivery, Status
from connector.errors import CredentialsRefused
from connector.http import HttpClient
from connector.oa.cubicweb import Cubicweb
from connector.oa.cubicweb_rql import CubicwebClient
from connector.settings import System
from connector.testing.http_faults import HttpFaults
from connector.testing.oa_conformance import OaConformance, OaRig
from connector.testing.suite import drained

pytestmark = pytest.mark.e2e

REFERENCE = {"type": "query_reference", "queryIndex": 0, "row": 0, "column": 0}


class Office:
    """People who work in the OA itself."""

    def __init__(self, server: Any) -> None:
        self.client = CubicwebClient(HttpClient(server.url), server.token_id, server.token, server.url)

    def hand_in(
        self, amount: float = 318.0, taxes: float = 18.0, kind: str = "accomodation", currency: str = "CNY"
    ) -> str:
        """An expense of one line, accepted; its number."""
        number = self.submit(amount, taxes, kind, currency)
        self.move(int(number[2:]), "accept")
        return number

    def submit(
        self, amount: float = 318.0, taxes: float = 18.0, kind: str = "accomodation", currency: str = "CNY"
    ) -> str:
        """An expense of one line that nobody has accepted yet; its number."""
        label = f"travel {uuid.uuid4().hex[:6]}"
        if not self.client.read('Any X WHERE X is PaidByAccount, X label "employee"'):
            self.client.write(('INSERT PaidByAccount A: A label "employee", A account "2241"', {}))
        self.client.write(('INSERT PaidForAccount A: A label %(l)s, A account "6602"', {"l": label}))
        rows = self.client.write(
            (
                (
                    "INSERT ExpenseLine L: L title %(t)s, L diem %(d)s, L type %(k)s, L amount %(a)s, L taxes %(x)s,"
                    " L currency %(c)s, L paid_by B, L paid_for F WHERE B is PaidByAccount, B label 'employee',"
                    " F is PaidForAccount, F label %(l)s"
                ),
                {"t": "深圳 2 晚", "d": "2026-11-20", "k": kind, "a": amount, "x": taxes, "c": currency, "l": label},
            ),
            ("INSERT Expense X: X title %(t)s, X has_lines L WHERE L eid %(l)s", {"t": "深圳出差", "l": REFERENCE}),
        )
        eid = rows[1][0][0]
        self.move(eid, "submit")
        return f"EX{eid}"

    def move(self, eid: int, transition: str) -> None:
        self.client.write(
            (
                "INSERT TrInfo T: T wf_info_for X, T by_transition TR WHERE X eid %(x)s, TR name %(t)s",
                {"x": eid, "t": transition},
            )
        )

    def take_back(self, number: str) -> None:
        self.client.write(
            (
                (
                    "INSERT TrInfo T: T wf_info_for X, T to_state S WHERE X eid %(x)s, S name 'draft', S state_of W,"
                    " W name 'expense workflow'"
                ),
                {"x": int(number[2:])},
            )
        )

    def raise_to(self, number: str, amount: float) -> None:
        """Another amount in the lines of an expense."""
        lines = "SET L amount %(a)s WHERE X has_lines L, X eid %(x)s"
        self.client.write((lines, {"a": amount, "x": int(number[2:])}))

    def notes(self, number: str) -> Sequence[str]:
        ((description,),) = self.client.read("Any D WHERE X eid %(x)s, X description D", x=int(number[2:]))
        return [line for line in (description or "").splitlines() if line.startswith("[ERP]")]


def adapter_of(server: Any, url: str) -> Cubicweb:
    """The adapter, asking at `url`, which the server need not know."""
    options = {"department": "D01", "employee.admin": "E001", "signed_url": server.url}
    return Cubicweb(
        System(
            adapter="cubicweb",
            company="C01",
            url=url,
            user=server.token_id,
            password=SecretStr(server.token),
            options=options,
        )
    )


@pytest.fixture
def office(cubicweb: Any) -> Iterator[Office]:
    office = Office(cubicweb)
    yield office
    office.client.close()


@pytest.fixture
def oa(cubicweb: Any, office: Office) -> Iterator[OaRig]:
    def make() -> Adapter:
        return adapter_of(cubicweb, url=cubicweb.url)

    with OaRig(make=make, approve=office.hand_in, withdraw=office.take_back, statuses=office.notes) as rig:
        yield rig


class TestCubicweb(OaConformance):
    features = Cubicweb.features


def test_an_accepted_expense_becomes_a_report_exact_to_the_cent(oa: OaRig, office: Office) -> None:
    adapter = oa.open()
    cursor = drained(adapter, None)[1]
    number = office.hand_in(amount=0.1 + 0.2 - 0.00000000000000004, taxes=0.0)

    (change,) = drained(adapter, cursor)[0]

    report = change.event.data
    assert change.unnumbered
    assert (report.number, report.total, report.currency) == (number, Decimal("0.30"), "CNY")
    assert (report.employee.id, report.employee.department) == ("E001", "D01")
    assert [line.category for line in report.lines] == ["travel.hotel"]


def test_a_tax_becomes_a_special_invoice_waiting_for_certification(oa: OaRig, office: Office) -> None:
    adapter = oa.open()
    cursor = drained(adapter, None)[1]
    office.hand_in(amount=318.0, taxes=18.0)

    (change,) = drained(adapter, cursor)[0]

    invoice = change.event.data.lines[0].invoice
    assert (invoice.kind, invoice.net, invoice.tax, invoice.certified) == (
        "vat_special",
        Decimal("300.00"),
        Decimal("18.00"),
        None,
    )


def test_an_amount_with_a_fraction_of_a_cent_is_refused_with_what_the_oa_holds(oa: OaRig, office: Office) -> None:
    adapter = oa.open()
    cursor = drained(adapter, None)[1]
    office.hand_in(amount=10.005, taxes=0.0)

    page = adapter.poll(cursor)

    assert page.changes == []
    (refused,) = page.refused
    assert (refused.findings[0].code, refused.findings[0].path) == ("OA-404", "lines[0].amount")
    assert b"10.005" in refused.raw


def test_an_unknown_kind_of_expense_goes_on_to_wait_for_its_mapping(oa: OaRig, office: Office) -> None:
    adapter = oa.open()
    cursor = drained(adapter, None)[1]
    office.hand_in(kind="others")

    (change,) = drained(adapter, cursor)[0]

    assert change.event.data.lines[0].category == "others"


def test_our_own_note_does_not_look_like_a_change(oa: OaRig, office: Office) -> None:
    adapter = oa.open()
    cursor = drained(adapter, None)[1]
    number = office.hand_in()
    first, after = drained(adapter, cursor)
    adapter.deliver(
        [Delivery("C01-X-V1-posted", Status("C01", number, 1, "posted", erp_number="7", on=date(2026, 11, 24)))]
    )

    again, _ = drained(adapter, after)

    assert {change.event.id for change in again} <= {change.event.id for change in first}


def test_a_deleted_expense_is_told_as_withdrawn_once(oa: OaRig, office: Office) -> None:
    adapter = oa.open()
    cursor = drained(adapter, None)[1]
    number = office.hand_in()
    cursor = drained(adapter, cursor)[1]
    office.client.write(("DELETE Expense X WHERE X eid %(x)s", {"x": int(number[2:])}))

    changes, after = drained(adapter, cursor)

    assert [(change.event.type, change.event.number) for change in changes] == [("expense.report.withdrawn.v1", number)]
    assert drained(adapter, after)[0] == []


def test_an_expense_accepted_again_is_told_again(oa: OaRig, office: Office) -> None:
    adapter = oa.open()
    number = office.hand_in()
    cursor = drained(adapter, None)[1]
    office.take_back(number)
    for transition in ("submit", "accept"):
        office.move(int(number[2:]), transition)

    changes, _ = drained(adapter, cursor)

    assert [(change.event.type, change.event.number) for change in changes] == [("expense.report.approved.v1", number)]


def test_an_expense_accepted_while_the_oa_is_asked_is_told_as_accepted_and_never_as_withdrawn(
    cubicweb: Any, office: Office
) -> None:
    number = office.submit()
    waiting = [number]

    def accept_before_the_steps_are_asked(path: str, body: bytes) -> bool:
        if b"wf_info_for X, I to_state" in body and waiting:
            office.move(int(waiting.pop()[2:]), "accept")
        return False

    with HttpFaults(cubicweb.url) as proxy:
        adapter = adapter_of(cubicweb, proxy.url)
        proxy.next("500", accept_before_the_steps_are_asked)
        first, cursor = drained(adapter, None)
        later, _ = drained(adapter, cursor)
        adapter.close()

    assert waiting == []
    told = [(change.event.type, change.event.id) for change in [*first, *later] if change.event.number == number]
    assert {kind for kind, _ in told} == {"expense.report.approved.v1"}
    assert len({event_id for _, event_id in told}) == 1


def test_an_expense_taken_back_and_raised_while_the_oa_is_asked_is_never_told_as_approved_with_the_new_amount(
    cubicweb: Any, office: Office
) -> None:
    number = office.hand_in(amount=10.0, taxes=0.0)

    def take_back_and_raise() -> None:
        office.take_back(number)
        office.raise_to(number, 9999.0)

    with HttpFaults(cubicweb.url) as proxy:
        adapter = adapter_of(cubicweb, proxy.url)
        proxy.meanwhile(lambda path, body: b"has_lines L, L title" in body, take_back_and_raise)
        first, cursor = drained(adapter, None)
        later, _ = drained(adapter, cursor)
        adapter.close()

    told = [change.event.type for change in [*first, *later] if change.event.number == number]
    assert set(told) == {"expense.report.withdrawn.v1"}


def test_a_wrong_key_is_the_administrators_matter(cubicweb: Any) -> None:
    system = System(
        adapter="cubicweb",
        company="C01",
        url=cubicweb.url,
        user=cubicweb.token_id,
        password=SecretStr("0" * 128),
        options={"department": "D01"},
    )
    adapter = Cubicweb(system)
    with pytest.raises(CredentialsRefused):
        adapter.poll(None)
    adapter.close()
