"""With a conftest here, the cases beside it are importable from the rooms below."""
