"""How trained priors are judged on held-out poses: scores, comparisons, and which joint is to blame."""
