"""The agent on a GPU machine: samples, publishes, and runs commands."""
