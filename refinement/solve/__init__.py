"""The solver: variables, loss terms, sub-stages, and what minimises them. It knows the problem, and nothing of where that came from."""
