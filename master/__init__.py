"""The master: takes in what workers say, keeps the fleet and its store, and dispatches commands."""
