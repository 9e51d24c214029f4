"""A posting keeps the terms its voucher was made on: its closed period, what it takes off advances, its parts of invoices."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the column; what is booked already was settled nothing but its day."""
    op.add_column("postings", sa.Column("terms", sa.Text(), nullable=True))


def downgrade() -> None:
    """Forgets the terms; vouchers stay as they were made."""
    op.drop_column("postings", "terms")
