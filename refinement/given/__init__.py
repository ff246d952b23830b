"""From what the tools wrote to the problem that is solved: people, sizes, scale, floor, checks, and where the solver starts."""
