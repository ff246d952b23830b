"""Faults of a motion taken out, one kind at a time; frames and joints without a fault stay as they are to the last bit."""
