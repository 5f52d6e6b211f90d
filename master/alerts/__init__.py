"""Alerts: rules, what they find, who has seen it, and what is silenced."""
