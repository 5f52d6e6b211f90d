"""Backups of a master: one file with everything that it keeps, taken while it runs, checked before it is put back."""
