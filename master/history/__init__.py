"""History: each card's and host's main readings, raw for a while in memory and rolled up in the database."""
