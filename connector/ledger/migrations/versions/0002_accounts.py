"""The accounts: balances and their uses, payments, periods, waiting by key, archived books; postings may adjust, and are
found by state and time."""

import sqlalchemy as sa
from alembic import op

from connector.ledger.sql import Instant, now

revision = "0002"
down_revision = "0001"

Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_PURPOSES = {"0002": "purpose IN ('post','adjust','return','reverse')", "0001": "purpose IN ('post','reverse')"}
_DUE = {"0002": ["company", "state", "next_at"], "0001": ["company", "next_at"]}


def upgrade() -> None:
    """Creates the tables, and lets a posting have the purposes `adjust` and `return`."""
    op.create_table(
        "balances",
        sa.Column("key", sa.String(length=140), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("company", sa.String(length=20), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("available", sa.String(length=40), nullable=False),
        sa.Column("used", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('advance','invoice','budget')", name="ck_balances_kind"),
        sa.PrimaryKeyConstraint("key", "kind", "company", name="pk_balances"),
    )
    budgets = sa.text("kind = 'budget'")
    op.create_index("ix_balances_budgets", "balances", ["company"], postgresql_where=budgets, sqlite_where=budgets)
    op.create_table(
        "books",
        sa.Column("id", Key, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.Column("used_from", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_books"),
    )
    op.create_index("ix_books_fingerprint", "books", ["fingerprint"], unique=False)
    op.create_table(
        "payments",
        sa.Column("id", Key, nullable=False),
        sa.Column("document_id", Key, nullable=False),
        sa.Column("number", sa.String(length=120), nullable=False),
        sa.Column("amount", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("paid", sa.Boolean(), nullable=False),
        sa.Column("reversed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_payments"),
        sa.UniqueConstraint("document_id", "number", name="uq_payments_document_id_number"),
    )
    op.create_table(
        "periods",
        sa.Column("id", Key, nullable=False),
        sa.Column("company", sa.String(length=20), nullable=False),
        sa.Column("period", sa.String(length=64), nullable=False),
        sa.Column("starts_on", sa.String(length=10), nullable=False),
        sa.Column("ends_on", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_periods"),
        sa.UniqueConstraint("company", "period", name="uq_periods_company_period"),
    )
    op.create_table(
        "releases",
        sa.Column("id", Key, nullable=False),
        sa.Column("company", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("canary", Key, nullable=False),
        sa.Column("reached", Key, nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("released", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("evidence", sa.String(length=64), nullable=False),
        sa.Column("moved_at", Instant(), server_default=now(), nullable=False),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
    )
    op.create_index("ix_releases_key", "releases", ["company", "key"], unique=False)
    op.create_table(
        "year_crossings",
        sa.Column("document_id", Key, autoincrement=False, nullable=False),
        sa.Column("accepted_by", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("document_id", name="pk_year_crossings"),
    )
    op.create_table(
        "balance_uses",
        sa.Column("document_id", Key, autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("uses", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("document_id", name="pk_balance_uses"),
    )
    op.create_table(
        "waits",
        sa.Column("letter_id", Key, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("company", sa.String(length=20), nullable=False),
        sa.Column("lacks", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], name="fk_waits_letter_id"),
        sa.PrimaryKeyConstraint("letter_id", "key", name="pk_waits"),
    )
    op.create_index("ix_waits_key", "waits", ["company", "key"], unique=False)
    keyless = sa.text("event_id IS NULL")
    op.create_index(
        "ix_dead_letters_body",
        "dead_letters",
        ["body"],
        postgresql_using="hash",
        postgresql_where=keyless,
        sqlite_where=keyless,
    )
    _change_postings("0002")


def downgrade() -> None:
    """Drops them again. Refused by the database where a posting adjusts, or returns."""
    _change_postings("0001")

    op.drop_index("ix_dead_letters_body", table_name="dead_letters")
    op.drop_index("ix_waits_key", table_name="waits")
    op.drop_table("waits")
    op.drop_table("balance_uses")
    op.drop_table("year_crossings")
    op.drop_index("ix_releases_key", table_name="releases")
    op.drop_table("releases")
    op.drop_table("periods")
    op.drop_table("payments")
    op.drop_index("ix_books_fingerprint", table_name="books")
    op.drop_table("books")
    op.drop_index("ix_balances_budgets", table_name="balances")
    op.drop_table("balances")


def _change_postings(revision: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("ck_postings_purpose", "postings", type_="check")
        op.create_check_constraint("ck_postings_purpose", "postings", sa.text(_PURPOSES[revision]))
        op.drop_index("ix_postings_due", table_name="postings")
        _create_due(revision)
        return
    # SQLite cannot change a constraint: the table is written anew, its child first put aside.
    op.execute("CREATE TABLE attempts_aside AS SELECT * FROM attempts")
    op.drop_index("ix_attempts_posting", table_name="attempts")
    op.drop_table("attempts")
    _create_postings(_PURPOSES[revision])
    op.execute("INSERT INTO postings_anew SELECT * FROM postings")
    op.drop_table("postings")
    op.rename_table("postings_anew", "postings")
    _create_due(revision)
    _create_live()
    _create_attempts()
    op.execute("INSERT INTO attempts SELECT * FROM attempts_aside")
    op.drop_table("attempts_aside")


def _create_postings(purposes: str) -> None:
    op.create_table(
        "postings_anew",
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
        sa.CheckConstraint(purposes, name="ck_postings_purpose"),
        sa.CheckConstraint(
            "state IN ('PENDING','SENDING','POSTED','REJECTED','UNKNOWN','REVERSED')", name="ck_postings_state"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_postings"),
        sa.UniqueConstraint("company", "reference", name="uq_postings_company_reference"),
        sa.UniqueConstraint("document_id", "version", "purpose", name="uq_postings_document_id_version_purpose"),
    )


def _create_due(revision: str) -> None:
    unsettled = sa.text("state IN ('PENDING','SENDING','UNKNOWN')")
    op.create_index("ix_postings_due", "postings", _DUE[revision], postgresql_where=unsettled, sqlite_where=unsettled)


def _create_live() -> None:
    op.create_index(
        "uq_postings_live",
        "postings",
        ["document_id"],
        unique=True,
        sqlite_where=sa.text("purpose = 'post' AND state = 'POSTED'"),
    )


def _create_attempts() -> None:
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
        sa.ForeignKeyConstraint(["posting_id"], ["postings.id"], name="fk_attempts_posting_id"),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_posting", "attempts", ["posting_id"], unique=False)
