"""Lambda entry points. No logic."""
