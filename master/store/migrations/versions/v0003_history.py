"""Readings over time: minutes of the last hours, and older ones in blocks."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "history_minutes",
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("cards", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "start", name="pk_history_minutes"),
    )
    op.create_index("ix_history_minutes_start", "history_minutes", ["start"])
    op.create_table(
        "history_blocks",
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("uuid", sa.Text, nullable=False),
        sa.Column("step_s", sa.BigInteger, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "uuid", "step_s", "start", name="pk_history_blocks"),
    )
    op.create_index("ix_history_blocks_step_s_start", "history_blocks", ["step_s", "start"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("history_blocks")
    op.drop_table("history_minutes")
