"""Frozen data shared by all rooms."""
