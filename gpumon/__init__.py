"""The ground floor: what agents, broker, master and page agree on (topics, messages, settings, the MQTT link)."""
