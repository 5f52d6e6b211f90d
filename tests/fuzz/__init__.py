"""Hostile inputs by the thousand: README.md says what is tried, and how to try more."""
