"""count tries by address.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "address_tries",
        sa.Column("username_index", sa.LargeBinary(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("username_index", "address_index", name=op.f("pk_address_tries")),
    )
    op.create_index("ix_address_tries_since", "address_tries", ["since"], unique=False)
    op.create_table(
        "familiar_addresses",
        sa.Column("subject_index", sa.LargeBinary(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject_index", "address_index", name=op.f("pk_familiar_addresses")),
    )
    op.create_index("ix_familiar_addresses_used_at", "familiar_addresses", ["used_at"], unique=False)
    op.add_column("challenges", sa.Column("address_index", sa.LargeBinary(), nullable=True))
    op.add_column("challenges", sa.Column("familiar", sa.Boolean(), server_default=sa.text("false"), nullable=False))


def downgrade() -> None:
    op.drop_column("challenges", "familiar")
    op.drop_column("challenges", "address_index")
    op.drop_index("ix_familiar_addresses_used_at", table_name="familiar_addresses")
    op.drop_table("familiar_addresses")
    op.drop_index("ix_address_tries_since", table_name="address_tries")
    op.drop_table("address_tries")
