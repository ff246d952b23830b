"""Where poses come from: files of the field, or the built-in source; converted once, split without leaks, served in batches."""
