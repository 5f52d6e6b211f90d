"""Telling: who is told of alerts, by which channel, when, and what became of it."""
