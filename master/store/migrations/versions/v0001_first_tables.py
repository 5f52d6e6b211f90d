"""The first tables: workers, events, commands with their output, accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "workers",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("status", sa.Text),
        sa.Column("last_seen", sa.Double),
        sa.Column("info", sa.Text),
        sa.Column("metrics", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("received", sa.Double, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("gpu", sa.Text),
        sa.Column("value", sa.BigInteger),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_worker_id_received", "events", ["worker_id", "received"])
    _create_command_tables()
    op.create_table(
        "users",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
    )
    op.create_table(
        "worker_tokens",
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("token_sha256", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_worker_tokens"),
    )


def _create_command_tables() -> None:
    op.create_table(
        "commands",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("timeout_s", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_commands"),
    )
    op.create_index("ix_commands_created", "commands", ["created"])
    op.create_index("ix_commands_ended", "commands", ["ended"])
    op.create_table(
        "command_targets",
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("exit_code", sa.BigInteger),
        sa.Column("started", sa.Double),
        sa.Column("duration_s", sa.Double),
        sa.Column("stdout_bytes", sa.BigInteger, nullable=False),
        sa.Column("stderr_bytes", sa.BigInteger, nullable=False),
        sa.Column("truncated", sa.Boolean, nullable=False),
        sa.Column("problem", sa.Text),
        sa.ForeignKeyConstraint(
            ["command_id"], ["commands.id"], name="fk_command_targets_command_id_commands", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("command_id", "worker_id", name="pk_command_targets"),
    )
    op.create_index("ix_command_targets_worker_id", "command_targets", ["worker_id"])
    op.create_table(
        "command_outputs",
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("chunks", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["command_id"], ["commands.id"], name="fk_command_outputs_command_id_commands", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("command_id", "worker_id", name="pk_command_outputs"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("worker_tokens", "users", "command_outputs", "command_targets", "commands", "events", "workers"):
        op.drop_table(table)
