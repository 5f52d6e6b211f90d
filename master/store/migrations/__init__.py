"""Alembic migrations; a change of `models.py` gets the next file in `versions/`."""
