"""The adapter under load, next to other ways to write one, against a simulated service."""
