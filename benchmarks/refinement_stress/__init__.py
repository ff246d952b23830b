"""The refinement on scenes with errors unlike white noise, each family beside where it starts."""
