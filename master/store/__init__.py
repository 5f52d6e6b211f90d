"""What the master keeps: SQLAlchemy models, the engine, migrations and the one writer."""
