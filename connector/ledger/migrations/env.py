"""Alembic's entry: migrations run on the connection they are handed."""

from alembic import context

from connector.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
