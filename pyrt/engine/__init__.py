"""The facade: one file per use case; the only room that combines rooms."""
