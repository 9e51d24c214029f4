"""The ledger's tables. The ledger is the truth: what is not here did not happen."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from connector.ledger.sql import Instant, now

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# SQLite gives an automatic row number only to an INTEGER key.
Key = BigInteger().with_variant(Integer, "sqlite")


def _made() -> Column[object]:
    return Column("created_at", Instant, nullable=False, server_default=now())


# Events on their way to the broker. A row is deleted by the transaction that records its event in the inbox; one that
# nobody recorded is due again, so that a wiped broker loses nothing.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Key, primary_key=True),
    Column("source", String(200), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("type", String(120), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("due_at", Instant, nullable=False, server_default=now()),
    Column("sends", Integer, nullable=False, server_default=text("0")),
    _made(),
    Index("ix_outbox_due", "due_at", "id"),
    Index("ix_outbox_event", "source", "event_id"),
)

# Every event that was read from the broker, for ever: the idempotent receiver has no window. For a document's event
# this row is also the document's version.
# outcome: applied | duplicate | superseded | held (waits behind a parked or unfinished version) | parked | released
# (to be read again: replayed by a person or let go from a lane) | discarded.
inbox = Table(
    "inbox",
    metadata,
    Column("id", Key, primary_key=True),
    Column("source", String(200), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("type", String(120), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    # No foreign key here nor in postings: every row is written under its document's lock, and checking each again is
    # a tenth of the cost of a batch.
    Column("document_id", Key),
    Column("version", BigInteger),
    Column("outcome", String(20), nullable=False),
    Column("note", Text),
    Column("received_at", Instant, nullable=False, server_default=now()),
    UniqueConstraint("source", "event_id"),
    Index("ix_inbox_document", "document_id", "version"),
    Index(
        "ix_inbox_held",
        "document_id",
        "version",
        postgresql_where=text("outcome = 'held'"),
        sqlite_where=text("outcome = 'held'"),
    ),
)

# What a door received, where it was not our own envelope already: the vendor's bytes.
originals = Table(
    "originals",
    metadata,
    Column("id", Key, primary_key=True),
    Column("source", String(200), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("door", String(60), nullable=False),
    Column("body", LargeBinary, nullable=False),
    _made(),
    UniqueConstraint("source", "event_id"),
)

# One row per business document. Its row lock orders everything that happens to it.
documents = Table(
    "documents",
    metadata,
    Column("id", Key, primary_key=True),
    Column("kind", String(60), nullable=False),
    Column("company", String(20), nullable=False),
    Column("number", String(120), nullable=False),
    Column("source", String(200), nullable=False),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    Column("sha256", String(64)),
    Column("state", String(20), nullable=False, server_default=text("'new'")),
    Column("blocked_by", Key),  # the dead letter that later versions wait behind
    Column("offered_version", BigInteger, nullable=False, server_default=text("0")),
    Column("offered_sha256", String(64)),
    _made(),
    UniqueConstraint("kind", "company", "number"),
)

# What must stand, or stands, in the ERP. purpose: post (the document's voucher), adjust (a voucher beside it that says
# what a later version adds), return (of an advance), reverse (takes one of these back).
# state: PENDING | SENDING | POSTED | REJECTED | UNKNOWN | REVERSED.
postings = Table(
    "postings",
    metadata,
    Column("id", Key, primary_key=True),
    Column("document_id", Key, nullable=False),
    Column("company", String(20), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("purpose", String(10), nullable=False),
    Column("reference", String(40), nullable=False),
    Column("state", String(10), nullable=False),
    Column("voucher", LargeBinary, nullable=False),
    Column("book", String(64)),  # fingerprint of the mapping book that made the voucher
    # JSON: what the ledger had settled when the voucher was made, its day apart: its closed period, what it takes off
    # advances, its parts of invoices; null: nothing
    Column("terms", Text),
    Column("depends_on", Key),  # the posting that must have ended first
    Column("reverses", Key),  # the posting that this one takes back
    Column("attempts", Integer, nullable=False),  # calls ever begun; written before each
    Column("tried_before", Integer, nullable=False),  # of these, the ones before a person had it replayed
    Column("asks", Integer, nullable=False),
    Column("next_at", Instant, nullable=False, server_default=now()),
    Column("lease_owner", String(120)),
    Column("lease_until", Instant),
    Column("epoch", Integer, nullable=False),  # fencing: raised by every claim, checked by every write
    Column("external_id", String(120)),
    Column("erp_number", String(120)),
    Column("posted_on", String(10)),
    Column("code", String(20)),
    Column("message", Text),
    Column("settled_at", Instant),
    _made(),
    UniqueConstraint("company", "reference"),
    UniqueConstraint("document_id", "version", "purpose"),
    CheckConstraint("state IN ('PENDING','SENDING','POSTED','REJECTED','UNKNOWN','REVERSED')", name="state"),
    CheckConstraint("purpose IN ('post','adjust','return','reverse')", name="purpose"),
    Index(
        "ix_postings_due",
        "company",
        "state",
        "next_at",
        postgresql_where=text("state IN ('PENDING','SENDING','UNKNOWN')"),
        sqlite_where=text("state IN ('PENDING','SENDING','UNKNOWN')"),
    ),
    # At most one live voucher per document, whatever the code above this table believes.
    Index(
        "uq_postings_live",
        "document_id",
        unique=True,
        postgresql_where=text("purpose = 'post' AND state = 'POSTED'"),
        sqlite_where=text("purpose = 'post' AND state = 'POSTED'"),
    ),
)

# Status on its way back to the OA. state: PENDING | SENDING | DONE | FAILED.
write_backs = Table(
    "write_backs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("document_id", Key, ForeignKey("documents.id"), nullable=False),
    Column("system", String(200), nullable=False),  # the source of the report: /oa/<adapter>/<company>
    Column("event_source", String(200), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("status", Text, nullable=False),  # JSON
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant, nullable=False, server_default=now()),
    Column("lease_owner", String(120)),
    Column("lease_until", Instant),
    Column("epoch", Integer, nullable=False),
    Column("code", String(20)),
    Column("message", Text),
    Column("settled_at", Instant),
    _made(),
    UniqueConstraint("event_source", "event_id"),
    Index("ix_write_backs_document", "document_id"),
    Index(
        "ix_write_backs_due",
        "system",
        "next_at",
        postgresql_where=text("state IN ('PENDING','SENDING')"),
        sqlite_where=text("state IN ('PENDING','SENDING')"),
    ),
)

# Every call to another system, written before it is made.
attempts = Table(
    "attempts",
    metadata,
    Column("id", Key, primary_key=True),
    Column("posting_id", Key, ForeignKey("postings.id"), nullable=False),
    Column("operation", String(10), nullable=False),  # deliver | find | reverse
    Column("attempt", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("worker", String(120), nullable=False),
    Column("request_sha256", String(64)),
    Column("outcome", String(20)),
    Column("code", String(20)),
    Column("message", Text),
    Column("started_at", Instant, nullable=False, server_default=now()),
    Column("ended_at", Instant),
    Index("ix_attempts_posting", "posting_id"),
)

# What a person must look at. state: open | replayed | discarded | resolved.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Key, primary_key=True),
    Column("code", String(20), nullable=False),
    Column("message", Text, nullable=False),
    Column("findings", Text, nullable=False),  # JSON list
    Column("waits_for", String(200)),  # the key whose arrival lets it go
    Column("door", String(60), nullable=False),
    Column("content_type", String(120), nullable=False),
    Column("body", LargeBinary, nullable=False),  # the original bytes, never changed
    Column("source", String(200)),
    Column("event_id", String(200)),
    Column("type", String(120)),
    Column("company", String(20)),
    Column("number", String(120)),
    Column("amount", String(40)),
    Column("currency", String(3)),
    Column("document_id", Key),
    Column("posting_id", Key),
    Column("write_back_id", Key),
    Column("state", String(12), nullable=False),
    Column("replays", Integer, nullable=False),
    Column("resolved_by", String(120)),
    Column("resolution", Text),
    Column("resolved_at", Instant),
    _made(),
    Index("ix_dead_letters_state", "state", "code"),
    Index("ix_dead_letters_event", "source", "event_id"),
    Index("ix_dead_letters_document", "document_id"),
    # By its hash: what has no key is known again by its bytes, which may be longer than a tree's entry.
    Index(
        "ix_dead_letters_body",
        "body",
        postgresql_using="hash",
        postgresql_where=text("event_id IS NULL"),
        sqlite_where=text("event_id IS NULL"),
    ),
)

# What letters wait for: one row per key, so that its arrival finds every letter at once.
waits = Table(
    "waits",
    metadata,
    Column("letter_id", Key, ForeignKey("dead_letters.id"), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("company", String(20), nullable=False),
    Column("lacks", String(40)),  # how much has to be left of a budget
    Index("ix_waits_key", "company", "key"),
)

# A key that arrived, and the letters let go for it: one first (the canary), the others once that one is through.
# state: canary | flowing | done | stopped.
releases = Table(
    "releases",
    metadata,
    Column("id", Key, primary_key=True),
    Column("company", String(20), nullable=False),
    Column("key", String(200), nullable=False),
    Column("state", String(10), nullable=False),
    Column("canary", Key, nullable=False),  # its dead letter
    Column("reached", Key, nullable=False),  # the last letter let go; the next round goes on behind it
    Column("waiting", Integer, nullable=False),  # letters that waited when it began
    Column("released", Integer, nullable=False),
    Column("note", Text),
    Column(
        "evidence", String(64), nullable=False
    ),  # what had arrived; after a stop, only something else is tried again
    Column("moved_at", Instant, nullable=False, server_default=now()),
    _made(),
    Index("ix_releases_key", "company", "key"),
)

# Things of which at most so much may be used: an advance (paid less returned), an invoice (its total, for the whole
# group: company is *), a budget. `used` is the sum of its uses; the row lock makes claims wait for one another.
balances = Table(
    "balances",
    metadata,
    # The key first, which tells rows apart soonest: a ledger holds millions of invoices.
    Column("key", String(140), primary_key=True),
    Column("kind", String(10), primary_key=True),  # advance | invoice | budget
    Column("company", String(20), primary_key=True),
    Column("currency", String(3), nullable=False),
    Column("available", String(40), nullable=False),
    Column("used", String(40), nullable=False),
    Column("detail", Text, nullable=False),  # JSON: employee and rate of an advance, scope of a budget
    CheckConstraint("kind IN ('advance','invoice','budget')", name="kind"),
    Index(
        "ix_balances_budgets",
        "company",
        postgresql_where=text("kind = 'budget'"),
        sqlite_where=text("kind = 'budget'"),
    ),
)

# What one document uses of balances: reserved while it is only handed in, consumed once it is to be posted.
balance_uses = Table(
    "balance_uses",
    metadata,
    # No foreign key: rows are written under the document's lock, many in a batch.
    Column("document_id", Key, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),  # reserved | consumed
    Column("uses", Text, nullable=False),  # JSON: kind, company, key and amount of each
)

# Payments of a document, as the ERP told of them; a reversal may come before its payment.
payments = Table(
    "payments",
    metadata,
    Column("id", Key, primary_key=True),
    Column("document_id", Key, nullable=False),
    Column("number", String(120), nullable=False),
    Column("amount", String(40), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("paid", Boolean, nullable=False),
    Column("reversed", Boolean, nullable=False),
    UniqueConstraint("document_id", "number"),
)

# Accounting periods of each company. state: open | closing | closed.
periods = Table(
    "periods",
    metadata,
    Column("id", Key, primary_key=True),
    Column("company", String(20), nullable=False),
    Column("period", String(64), nullable=False),
    Column("starts_on", String(10), nullable=False),
    Column("ends_on", String(10), nullable=False),
    Column("state", String(10), nullable=False),
    UniqueConstraint("company", "period"),
)

# Documents that a person let cross the fiscal year.
year_crossings = Table(
    "year_crossings",
    metadata,
    Column("document_id", Key, primary_key=True, autoincrement=False),
    Column("accepted_by", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    _made(),
)

# Every mapping book that was ever in force, with its files, so that yesterday's rules can be replayed.
books = Table(
    "books",
    metadata,
    Column("id", Key, primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("name", String(60), nullable=False),
    Column("version", String(40), nullable=False),
    Column("files", LargeBinary, nullable=False),  # a ZIP
    Column("used_from", Instant, nullable=False, server_default=now()),
    Index("ix_books_fingerprint", "fingerprint"),
)

# What a thing of ours is called elsewhere.
cross_references = Table(
    "cross_references",
    metadata,
    Column("id", Key, primary_key=True),
    Column("system", String(60), nullable=False),
    Column("company", String(20), nullable=False),
    Column("kind", String(60), nullable=False),
    Column("our_key", String(120), nullable=False),
    Column("their_key", String(120), nullable=False),
    Column("their_number", String(120)),
    _made(),
    UniqueConstraint("system", "company", "kind", "our_key"),
)

# Master records as both sides last told them, and what the conflict rules made of it.
master_records = Table(
    "master_records",
    metadata,
    Column("id", Key, primary_key=True),
    Column("document_id", Key, ForeignKey("documents.id"), nullable=False),
    Column("company", String(20), nullable=False),
    Column("kind", String(60), nullable=False),
    Column("key", String(120), nullable=False),
    Column("base", Text, nullable=False),  # JSON: what both sides last agreed on
    Column("oa", Text),  # JSON: what the OA last said
    Column("erp", Text),  # JSON: what the ERP last said
    Column("oa_version", BigInteger, nullable=False),
    Column("erp_version", BigInteger, nullable=False),
    Column("merged", Text, nullable=False),
    Column("winners", Text, nullable=False),  # JSON: field -> which side won, and by which rule
    Column("conflict", Boolean, nullable=False),
    _made(),
    UniqueConstraint("company", "kind", "key"),
)

# Where polling goes on, per system.
cursors = Table(
    "cursors",
    metadata,
    Column("system", String(200), primary_key=True),
    Column("position", Text, nullable=False),
    Column("moved_at", Instant, nullable=False, server_default=now()),
)

# Answers already given: Idempotency-Key of the gateway, ids of webhooks.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("scope", String(60), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("request_sha256", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _made(),
)

# One row per scheduled run, so that several schedulers make one run.
ticks = Table(
    "ticks",
    metadata,
    Column("job", String(120), primary_key=True),
    Column("slot", BigInteger, primary_key=True),
    Column("worker", String(120), nullable=False),
    _made(),
)

# Who did what, when and why; each row carries the hash of the one before it.
audit = Table(
    "audit",
    metadata,
    Column("id", Key, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("actor", String(120), nullable=False),
    Column("action", String(60), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),  # JSON, keys sorted
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)
