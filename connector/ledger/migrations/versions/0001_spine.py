"""The spine: outbox, inbox, documents, postings, dead letters, cross references, audit."""

import sqlalchemy as sa
from alembic import op

from connector.ledger.sql import Instant, now

revision = "0001"
down_revision = None

Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "audit",
        sa.Column("id", Key, nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_audit")),
        sa.UniqueConstraint("hash", name=("uq_audit_hash")),
    )
    op.create_table(
        "cross_references",
        sa.Column("id", Key, nullable=False),
        sa.Column("system", sa.String(length=60), nullable=False),
        sa.Column("company", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("our_key", sa.String(length=120), nullable=False),
        sa.Column("their_key", sa.String(length=120), nullable=False),
        sa.Column("their_number", sa.String(length=120), nullable=True),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_cross_references")),
        sa.UniqueConstraint(
            "system", "company", "kind", "our_key", name=("uq_cross_references_system_company_kind_our_key")
        ),
    )
    op.create_table(
        "cursors",
        sa.Column("system", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("moved_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("system", name=("pk_cursors")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", Key, nullable=False),
        sa.Column("code", sa.String(length=20), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("waits_for", sa.String(length=200), nullable=True),
        sa.Column("door", sa.String(length=60), nullable=False),
        sa.Column("content_type", sa.String(length=120), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=True),
        sa.Column("event_id", sa.String(length=200), nullable=True),
        sa.Column("type", sa.String(length=120), nullable=True),
        sa.Column("company", sa.String(length=20), nullable=True),
        sa.Column("number", sa.String(length=120), nullable=True),
        sa.Column("amount", sa.String(length=40), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("document_id", Key, nullable=True),
        sa.Column("posting_id", Key, nullable=True),
        sa.Column("write_back_id", Key, nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("replays", sa.Integer(), nullable=False),
        sa.Column("resolved_by", sa.String(length=120), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("resolved_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_dead_letters")),
    )
    op.create_index("ix_dead_letters_document", "dead_letters", ["document_id"], unique=False)
    op.create_index("ix_dead_letters_event", "dead_letters", ["source", "event_id"], unique=False)
    op.create_index("ix_dead_letters_state", "dead_letters", ["state", "code"], unique=False)
    op.create_table(
        "documents",
        sa.Column("id", Key, nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("company", sa.String(length=20), nullable=False),
        sa.Column("number", sa.String(length=120), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=20), server_default=sa.text("'new'"), nullable=False),
        sa.Column("blocked_by", Key, nullable=True),
        sa.Column("offered_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("offered_sha256", sa.String(length=64), nullable=True),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_documents")),
        sa.UniqueConstraint("kind", "company", "number", name=("uq_documents_kind_company_number")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.String(length=60), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=("pk_idempotency_keys")),
    )
    op.create_table(
        "inbox",
        sa.Column("id", Key, nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=120), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("document_id", Key, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("received_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_inbox")),
        sa.UniqueConstraint("source", "event_id", name=("uq_inbox_source_event_id")),
    )
    op.create_index("ix_inbox_document", "inbox", ["document_id", "version"], unique=False)
    op.create_index(
        "ix_inbox_held",
        "inbox",
        ["document_id", "version"],
        unique=False,
        postgresql_where=sa.text("outcome = 'held'"),
        sqlite_where=sa.text("outcome = 'held'"),
    )
    op.create_table(
        "originals",
        sa.Column("id", Key, nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("door", sa.String(length=60), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_originals")),
        sa.UniqueConstraint("source", "event_id", name=("uq_originals_source_event_id")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Key, nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=120), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("due_at", Instant(), server_default=now(), nullable=False),
        sa.Column("sends", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_outbox")),
    )
    op.create_index("ix_outbox_due", "outbox", ["due_at", "id"], unique=False)
    op.create_index("ix_outbox_event", "outbox", ["source", "event_id"], unique=False)
    op.create_table(
        "postings",
        sa.Column("id", Key, nullable=False),
        sa.Column("document_id", Key, nullable=False),
        sa.Column("company", sa.String(length=20), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(length=10), nullable=False),
        sa.Column("reference", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("voucher", sa.LargeBinary(), nullable=False),
        sa.Column("book", sa.String(length=64), nullable=True),
        sa.Column("depends_on", Key, nullable=True),
        sa.Column("reverses", Key, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tried_before", sa.Integer(), nullable=False),
        sa.Column("asks", sa.Integer(), nullable=False),
        sa.Column("next_at", Instant(), server_default=now(), nullable=False),
        sa.Column("lease_owner", sa.String(length=120), nullable=True),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(length=120), nullable=True),
        sa.Column("erp_number", sa.String(length=120), nullable=True),
        sa.Column("posted_on", sa.String(length=10), nullable=True),
        sa.Column("code", sa.String(length=20), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.CheckConstraint("purpose IN ('post','reverse')", name=("ck_postings_purpose")),
        sa.CheckConstraint(
            "state IN ('PENDING','SENDING','POSTED','REJECTED','UNKNOWN','REVERSED')", name=("ck_postings_state")
        ),
        sa.PrimaryKeyConstraint("id", name=("pk_postings")),
        sa.UniqueConstraint("company", "reference", name=("uq_postings_company_reference")),
        sa.UniqueConstraint("document_id", "version", "purpose", name=("uq_postings_document_id_version_purpose")),
    )
    op.create_index(
        "ix_postings_due",
        "postings",
        ["company", "next_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('PENDING','SENDING','UNKNOWN')"),
        sqlite_where=sa.text("state IN ('PENDING','SENDING','UNKNOWN')"),
    )
    op.create_index(
        "uq_postings_live",
        "postings",
        ["document_id"],
        unique=True,
        postgresql_where=sa.text("purpose = 'post' AND state = 'POSTED'"),
        sqlite_where=sa.text("purpose = 'post' AND state = 'POSTED'"),
    )
    op.create_table(
        "ticks",
        sa.Column("job", sa.String(length=120), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.String(length=120), nullable=False),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("job", "slot", name=("pk_ticks")),
    )
    op.create_table(
        "attempts",
        sa.Column("id", Key, nullable=False),
        sa.Column("posting_id", Key, nullable=False),
        sa.Column("operation", sa.String(length=10), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=120), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("code", sa.String(length=20), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("started_at", Instant(), server_default=now(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["posting_id"], ["postings.id"], name=("fk_attempts_posting_id")),
        sa.PrimaryKeyConstraint("id", name=("pk_attempts")),
    )
    op.create_index("ix_attempts_posting", "attempts", ["posting_id"], unique=False)
    op.create_table(
        "master_records",
        sa.Column("id", Key, nullable=False),
        sa.Column("document_id", Key, nullable=False),
        sa.Column("company", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("oa", sa.Text(), nullable=True),
        sa.Column("erp", sa.Text(), nullable=True),
        sa.Column("oa_version", sa.BigInteger(), nullable=False),
        sa.Column("erp_version", sa.BigInteger(), nullable=False),
        sa.Column("merged", sa.Text(), nullable=False),
        sa.Column("winners", sa.Text(), nullable=False),
        sa.Column("conflict", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.ForeignKeyConstraint(["document_id"], ["documents.id"], name=("fk_master_records_document_id")),
        sa.PrimaryKeyConstraint("id", name=("pk_master_records")),
        sa.UniqueConstraint("company", "kind", "key", name=("uq_master_records_company_kind_key")),
    )
    op.create_table(
        "write_backs",
        sa.Column("id", Key, nullable=False),
        sa.Column("document_id", Key, nullable=False),
        sa.Column("system", sa.String(length=200), nullable=False),
        sa.Column("event_source", sa.String(length=200), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", Instant(), server_default=now(), nullable=False),
        sa.Column("lease_owner", sa.String(length=120), nullable=True),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=20), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.ForeignKeyConstraint(["document_id"], ["documents.id"], name=("fk_write_backs_document_id")),
        sa.PrimaryKeyConstraint("id", name=("pk_write_backs")),
        sa.UniqueConstraint("event_source", "event_id", name=("uq_write_backs_event_source_event_id")),
    )
    op.create_index("ix_write_backs_document", "write_backs", ["document_id"], unique=False)
    op.create_index(
        "ix_write_backs_due",
        "write_backs",
        ["system", "next_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('PENDING','SENDING')"),
        sqlite_where=sa.text("state IN ('PENDING','SENDING')"),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_index(
        "ix_write_backs_due",
        table_name="write_backs",
        postgresql_where=sa.text("state IN ('PENDING','SENDING')"),
        sqlite_where=sa.text("state IN ('PENDING','SENDING')"),
    )
    op.drop_index("ix_write_backs_document", table_name="write_backs")
    op.drop_table("write_backs")
    op.drop_table("master_records")
    op.drop_index("ix_attempts_posting", table_name="attempts")
    op.drop_table("attempts")
    op.drop_table("ticks")
    op.drop_index(
        "uq_postings_live",
        table_name="postings",
        postgresql_where=sa.text("purpose = 'post' AND state = 'POSTED'"),
        sqlite_where=sa.text("purpose = 'post' AND state = 'POSTED'"),
    )
    op.drop_index(
        "ix_postings_due",
        table_name="postings",
        postgresql_where=sa.text("state IN ('PENDING','SENDING','UNKNOWN')"),
        sqlite_where=sa.text("state IN ('PENDING','SENDING','UNKNOWN')"),
    )
    op.drop_table("postings")
    op.drop_index("ix_outbox_event", table_name="outbox")
    op.drop_index("ix_outbox_due", table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("originals")
    op.drop_index(
        "ix_inbox_held",
        table_name="inbox",
        postgresql_where=sa.text("outcome = 'held'"),
        sqlite_where=sa.text("outcome = 'held'"),
    )
    op.drop_index("ix_inbox_document", table_name="inbox")
    op.drop_table("inbox")
    op.drop_table("idempotency_keys")
    op.drop_table("documents")
    op.drop_index("ix_dead_letters_state", table_name="dead_letters")
    op.drop_index("ix_dead_letters_event", table_name="dead_letters")
    op.drop_index("ix_dead_letters_document", table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_table("cursors")
    op.drop_table("cross_references")
    op.drop_table("audit")
