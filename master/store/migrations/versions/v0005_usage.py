"""Usage by hour and day, and who and where it is of."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "usage",
        sa.Column("step_s", sa.BigInteger, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("place_id", sa.BigInteger, nullable=False),
        sa.Column("held_ms", sa.BigInteger, nullable=False),
        sa.Column("busy_ms", sa.BigInteger, nullable=False),
        sa.Column("idle_ms", sa.BigInteger, nullable=False),
        sa.Column("told_ms", sa.BigInteger, nullable=False),
        sa.Column("metered_ms", sa.BigInteger, nullable=False),
        sa.Column("memory_mib_s", sa.BigInteger, nullable=False),
        sa.Column("energy_j", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("step_s", "start", "user_id", "place_id", name="pk_usage"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_places",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_usage_places"),
    )
    op.create_table(
        "usage_users",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_usage_users"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("usage_users", "usage_places", "usage"):
        op.drop_table(table)
