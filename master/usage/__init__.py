"""Usage: who has held which cards for how long, how busy they were, and what energy they took."""
