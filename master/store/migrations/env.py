"""Run by Alembic: applies migrations over the connection that `master.store.upgrade` hands it."""

from alembic import context

from master.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
