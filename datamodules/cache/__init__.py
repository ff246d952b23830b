"""Where converted poses are kept, so that each set of files is converted once."""
