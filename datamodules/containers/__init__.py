"""What files of strangers come in, read without trust: nothing in them runs, and what they get of memory goes by their own size."""
