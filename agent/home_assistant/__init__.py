"""Announcing a worker and its cards to Home Assistant by MQTT discovery."""
