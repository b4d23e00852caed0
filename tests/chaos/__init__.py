"""Chaos: storage that fails at any moment, and processes that are killed at any moment."""
