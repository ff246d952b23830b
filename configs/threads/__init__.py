"""How many threads work on what."""
