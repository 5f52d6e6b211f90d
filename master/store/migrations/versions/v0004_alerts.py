"""Alerts, their rules, silences, and what is to be told of them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("gpu", sa.Text, nullable=True),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("ended", sa.Double, nullable=True),
        sa.Column("alert", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    op.create_index("ix_alerts_ended", "alerts", ["ended"])
    op.create_index("ix_alerts_since", "alerts", ["since"])
    op.create_table(
        "alert_rules",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("changed", sa.Double, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_alert_rules"),
    )
    op.create_table(
        "silences",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("silence", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_silences"),
    )
    op.create_index("ix_silences_until", "silences", ["until"])
    op.create_table(
        "notifications",
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("due", sa.Double, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("problem", sa.Text, nullable=True),
        sa.Column("message", sa.Text, nullable=True),
        sa.Column("ended", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("alert_id", "what", "channel", name="pk_notifications"),
    )
    op.create_index("ix_notifications_state_due", "notifications", ["state", "due"])
    op.create_index("ix_notifications_created", "notifications", ["created"])


def downgrade() -> None:
    """Drop them."""
    for table in ("notifications", "silences", "alert_rules", "alerts"):
        op.drop_table(table)
