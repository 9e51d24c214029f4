"""The verdict: what the ERP said about a posting in, what becomes of the posting out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from connector.adapter import Features, Outcome, Receipt
from connector.ledger.postings import Claim
from connector.recovery import Adopt, InDoubt, Park, RetryLater, decide
from connector.settings import Retry
from connector.translate.target import render
from contracts.amount import decimal_text, quantum
from contracts.bill import total_of
from contracts.findings import Finding
from contracts.voucher import parse_voucher

_UNTIL_ASKED_AGAIN_S = 10 * 365 * 86400.0  # A person has it asked again; nothing else does.


@dataclass(frozen=True, slots=True)
class Limits:
    """How often and how long: tries and waits, the settle window, and questions before a person is asked."""

    retry: Retry
    settle_s: float
    asks_max: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state a posting goes to, due again after `wait_s`. `attempt` is written beside the call that was made.

    A person is asked about what is REJECTED, and about what stays UNKNOWN where `person` says so.
    """

    state: Literal["PENDING", "UNKNOWN", "POSTED", "REJECTED"]
    attempt: str
    code: str | None = None
    message: str | None = None
    wait_s: float = 0
    receipt: Receipt | None = None
    person: bool = False
    findings: Sequence[Finding] = ()


def of_call(claim: Claim, answer: Receipt | Outcome, erp: Features, limits: Limits, jitter: float) -> Verdict:
    """After a voucher was sent. An answer about something else tells nothing about ours."""
    if isinstance(answer, Outcome):
        return _of_outcome(claim, answer, limits, jitter)
    wrong = mismatch(claim, answer, erp)
    if wrong is not None:
        return Verdict("UNKNOWN", "mismatch", "ERP-404", wrong, wait_s=limits.settle_s)
    if answer.state != "posted":
        return Verdict("UNKNOWN", answer.state, message=f"the ERP says it is {answer.state}")
    return Verdict("POSTED", "posted", receipt=answer)


def _of_outcome(claim: Claim, outcome: Outcome, limits: Limits, jitter: float) -> Verdict:
    code, message = outcome.code, outcome.message
    match decide(outcome, claim.tries, limits.retry, jitter=jitter):
        case RetryLater(delay_s):
            return Verdict("PENDING", outcome.kind, code, message, wait_s=delay_s)
        case Park(code, reason):
            return Verdict("REJECTED", outcome.kind, code, reason)
        case InDoubt() | Adopt() if outcome.kind == "duplicate" and claim.asks >= limits.asks_max:
            # It stands there, and under our reference nothing does: somebody else did it.
            return Verdict("REJECTED", outcome.kind, code, f"asked {claim.asks} times; {message}")
        case InDoubt() | Adopt():
            # Both are answered by asking: what stands under our reference decides.
            wait_s = 0 if outcome.kind == "duplicate" else limits.settle_s
            return Verdict("UNKNOWN", outcome.kind, code, message, wait_s=wait_s)


def of_question(claim: Claim, found: Receipt | Outcome | None, erp: Features, limits: Limits) -> Verdict:
    """After the ERP was asked what stands under our reference, the settle window having passed."""
    if isinstance(found, Outcome):
        if claim.asks >= limits.asks_max:
            return _to_person(found.kind, "ERP-502", f"asked {claim.asks} times; {found.message}")
        wait_s = max(limits.settle_s, found.retry_after_s or 0) or 1.0
        return Verdict("UNKNOWN", found.kind, found.code, found.message, wait_s=wait_s)
    if found is not None and found.state == "posted":
        wrong = mismatch(claim, found, erp)
        if wrong is not None:
            return _to_person("conflict", "ERP-409", wrong)
        return Verdict("POSTED", "adopted", receipt=found)
    if found is not None and found.state == "cancelled":
        return _to_person("cancelled", "ERP-409", "it stands in the ERP under our reference and was cancelled there")
    if claim.tries < limits.retry.ledger_attempts:
        # Proven absent, or there but unfinished: sending (again) is safe, and the adapter is told that it resumes.
        return Verdict("PENDING", "absent" if found is None else found.state)
    if found is None:
        return Verdict("REJECTED", "absent", "ERP-503", f"sent {claim.tries} times, and nothing stands in the ERP")
    return _to_person(found.state, "ERP-503", f"sent {claim.tries} times, and the ERP says it is {found.state}")


def unfit(findings: Sequence[Finding], reason: str) -> Verdict:
    """What the ERP has no room for is not sent."""
    return Verdict("REJECTED", "unfit", findings[0].code, reason, findings=findings)


def _to_person(attempt: str, code: str, reason: str) -> Verdict:
    """Nobody can tell from here whether it stands in the ERP: it stays UNKNOWN, and a person is asked."""
    return Verdict("UNKNOWN", attempt, code, reason, wait_s=_UNTIL_ASKED_AGAIN_S, person=True)


def mismatch(claim: Claim, receipt: Receipt, erp: Features) -> str | None:
    """What is wrong with a receipt, where it is not about the voucher we sent."""
    if receipt.reference != claim.reference:
        return f"the ERP answered about {receipt.reference!r}, asked about {claim.reference!r}"
    if receipt.total is None or claim.purpose == "reverse":
        return None
    sent = render(parse_voucher(claim.voucher), erp)
    total = decimal_text(total_of(sent), quantum(sent.currency))
    if receipt.total != total or receipt.currency not in (None, sent.currency):
        return f"the ERP holds {receipt.total} {receipt.currency}, we sent {total} {sent.currency}"
    return None
