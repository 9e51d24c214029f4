"""The planner: a version of a document and what stands in the ERP in, what to do out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PostingState = Literal["PENDING", "SENDING", "POSTED", "REJECTED", "UNKNOWN", "REVERSED"]
Purpose = Literal["post", "adjust", "return", "reverse"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A posting of the document as the ledger knows it."""

    id: int
    version: int
    purpose: Purpose
    state: PostingState
    attempts: int
    reverses: int | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """Book this version, once every reversal before it stands."""

    version: int


@dataclass(frozen=True, slots=True)
class Reverse:
    """Take back what is posted."""

    posting: Standing


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop a posting that never left us."""

    posting: Standing


Step = Post | Reverse | Cancel


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and in one word and one sentence why.

    applied     the steps bring the ERP to this version (no steps: nothing to do there)
    duplicate   this version is here already, with the same content
    superseded  a newer version is here already
    held        it waits: behind a parked version, or for an answer of the ERP
    parked      a person must look (`code` says at what)
    """

    outcome: Literal["applied", "duplicate", "superseded", "held", "parked"]
    reason: str
    steps: tuple[Step, ...] = ()
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What arrived: `intent` books it, takes the document back, or only tells (submitted, not yet approved)."""

    number: int
    sha256: str
    source: str
    intent: Literal["book", "withdraw", "note"]
    released: bool = False  # a person, or the end of a wait, let it go: the lane is open to it


@dataclass(frozen=True, slots=True)
class DocumentState:
    """The document before this version: the version that counts, its content, and what stands in the ERP."""

    version: int
    sha256: str | None
    source: str
    blocked_by: int | None
    standing: tuple[Standing, ...] = ()


def plan(document: DocumentState, version: Version) -> Plan:
    """The one decision about a document, the same for preview, worker, replay and console."""
    if version.source != document.source:
        return Plan("parked", f"the document belongs to {document.source}", code="SYN-304")
    if version.intent == "note":
        return Plan("applied", "nothing to book before it is approved")
    if version.number < document.version:
        return Plan("superseded", f"version {document.version} is here already")
    if version.number == document.version and version.sha256 != document.sha256:
        return Plan("parked", f"version {version.number} is here with other content", code="SYN-301")
    if version.number == document.version and not (version.released and _rejected(document.standing, version.number)):
        return Plan("duplicate", f"version {version.number} is here already")
    if document.blocked_by is not None and not version.released:
        return Plan("held", f"an earlier version is parked as dead letter {document.blocked_by}", code="SYN-303")
    calling = _calling(document.standing)
    if calling is not None:
        return Plan("held", f"the ERP has not answered for version {calling.version} yet")
    steps = _steps(document.standing, version)
    if version.intent == "withdraw" and not steps:
        return Plan("applied", "withdrawn before anything was booked")
    return Plan("applied", _sentence(steps, version), steps)


def taken_back_by_hand(standing: Sequence[Standing]) -> list[Standing]:
    """What of the newest voucher somebody took back in the ERP: it stood there, and we have no reversal of it."""
    ours = {p.reverses for p in standing if p.purpose == "reverse"}
    stood = [p for p in standing if p.purpose != "reverse" and p.state in ("POSTED", "REVERSED")]
    newest = max((p.version for p in stood if p.purpose == "post"), default=0)
    return [p for p in stood if p.version >= newest and p.state == "REVERSED" and p.id not in ours]


def _rejected(standing: Sequence[Standing], version: int) -> bool:
    """True where the ERP refused what this version needs, so that a person may have it tried anew."""
    return any(p.state == "REJECTED" and (p.version == version or p.purpose == "reverse") for p in standing)


def _calling(standing: Sequence[Standing]) -> Standing | None:
    """The posting that has been sent, and may stand in the ERP or not."""
    for posting in standing:
        in_flight = posting.state in ("SENDING", "UNKNOWN") or (posting.state == "PENDING" and posting.attempts > 0)
        if posting.purpose != "reverse" and in_flight:
            return posting
    return None


def _steps(standing: Sequence[Standing], version: Version) -> tuple[Step, ...]:
    unsent = [p for p in standing if p.purpose != "reverse" and p.state == "PENDING" and p.attempts == 0]
    taken_back = {p.reverses for p in standing if p.purpose == "reverse" and p.state != "REJECTED"}
    live = [p for p in standing if p.purpose != "reverse" and p.state == "POSTED" and p.id not in taken_back]
    steps: list[Step] = [Cancel(posting) for posting in unsent]
    steps += [Reverse(posting) for posting in live]
    if version.intent == "book":
        steps.append(Post(version.number))
    return tuple(steps)


def _sentence(steps: Sequence[Step], version: Version) -> str:
    words = {Cancel: "drop version {} that was never sent", Reverse: "reverse version {}", Post: "post version {}"}
    said = [words[type(s)].format(s.version if isinstance(s, Post) else s.posting.version) for s in steps]
    return ", then ".join(said) or f"version {version.number} needs nothing in the ERP"
