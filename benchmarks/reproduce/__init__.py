"""The numbers that README states, made again: one command each, with what it takes and how far it may be off."""
