"""A posting keeps which part of an invoice its voucher was made for, where other documents hold the rest."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the column; what is booked already has the beginning of each of its invoices."""
    op.add_column("postings", sa.Column("invoices", sa.Text(), nullable=True))


def downgrade() -> None:
    """Forgets the parts; vouchers stay as they were made."""
    op.drop_column("postings", "invoices")
