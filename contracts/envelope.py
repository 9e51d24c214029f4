"""The envelope every event travels in: CloudEvents 1.0, structured JSON, with sequence and partition key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeAlias, TypeVar

from pydantic import model_validator

from contracts.fields import Contract, Data, Form, Identifier, Instant, MediaType, Text
from contracts.findings import Finding, broken

DataT = TypeVar("DataT", bound=Data)

Source = Annotated[
    str,
    Form(
        r"^/(?:oa|erp)/[a-z0-9_-]{1,32}/[A-Za-z0-9_-]{1,32}$",
        80,
        "/oa/<adapter>/<company> or /erp/<adapter>/<company>",
        "name the system the event comes from, like /oa/feishu/C01",
    ),
]
EventType = Annotated[
    str,
    Form(
        r"^[a-z_]+(?:\.[a-z_]+){1,3}\.v[1-9][0-9]{0,2}$",
        100,
        "an event type like expense.report.approved.v1",
        "see the catalogue",
    ),
]
Sequence = Annotated[
    str,
    Form(
        r"^[1-9][0-9]{0,15}$",
        16,
        "the version as a string of a positive whole number",
        'send data.version as text, like "1"',
    ),
]
TraceParent = Annotated[
    str,
    Form(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$", 55, "a W3C traceparent", "leave it out if you do not trace"),
]


class Event(Contract, Generic[DataT]):
    """One fact, told once or many times, always the same: `(source, id)` names it. Envelope and data agree, or it cannot be built."""

    specversion: Literal["1.0"] = "1.0"
    id: Identifier
    source: Source
    type: EventType
    subject: Text
    time: Instant
    datacontenttype: MediaType = "application/json"
    sequence: Sequence
    partitionkey: Text
    dataschema: Identifier | None = None
    traceparent: TraceParent | None = None
    data: DataT

    @property
    def company(self) -> str:
        """The company whose books this is about."""
        return self.data.company

    @property
    def number(self) -> str:
        """The document number, or the record's id for master data."""
        return self.subject

    @property
    def version(self) -> int:
        """The version of the document or record; a higher one replaces a lower one."""
        return self.data.version

    @property
    def system(self) -> str:
        """Which side speaks: `oa` or `erp`."""
        return self.source.split("/", 2)[1]

    @property
    def adapter(self) -> str:
        """The adapter that speaks for that side, like `feishu` or `tryton`."""
        return self.source.split("/", 3)[2]

    @property
    def kind(self) -> str:
        """What it is about, the type without what happened and the type's version: `expense.report`."""
        return self.type.rsplit(".", 2)[0]

    @property
    def happening(self) -> str:
        """What happened: `approved`, `posted`, `changed`."""
        return self.type.rsplit(".", 2)[1]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        data = self.data
        company, subject = data.company, data.subject
        if (
            self.subject != subject
            or self.sequence != str(data.version)
            or self.partitionkey != f"{company}/{subject}"
            or not self.source.endswith(f"/{company}")
            or self.datacontenttype != "application/json"
        ):
            raise broken(self._disagreements())
        if self.time.tzinfo is not UTC:
            self.__dict__["time"] = self.time.astimezone(UTC)  # Once, while it is built: inside, time is UTC.
        return self

    def _disagreements(self) -> list[Finding]:
        data = self.data
        pairs = [
            ("subject", data.subject, self.subject),
            ("sequence", str(data.version), self.sequence),
            ("partitionkey", f"{data.company}/{data.subject}", self.partitionkey),
            ("source", self.source.rpartition("/")[0] + f"/{data.company}", self.source),
            ("datacontenttype", "application/json", self.datacontenttype),
        ]
        return [
            Finding(
                "CON-130", path, f"{expected!r}, as the data says", repr(got), "make envelope and data say the same"
            )
            for path, expected, got in pairs
            if expected != got
        ]


# At runtime the class itself: parametrized, pydantic would build a model of it that nobody uses, at every start.
AnyEvent: TypeAlias = "Event[Any]"


def utc(moment: datetime) -> datetime:
    """The same moment in UTC; a time without zone is a mistake of our own code."""
    assert moment.tzinfo is not None, "time is aware"
    return moment.astimezone(UTC)
