"""Control groups of containers: where they are, limits as settings, reading back, and their life."""
