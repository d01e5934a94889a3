"""Errors, ids, paths and units: what every room may use. Standard library only."""
