"""Bodies fitted to where points of them were seen."""
