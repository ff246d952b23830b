"""Containers that files of strangers come in, read without trust: nothing in them runs, and they get no more memory than they bring bytes."""
