"""One file a change of the schema, `v<number>_<what>.py`."""
