"""Priors as programs that need nothing of this project: torch alone, or onnxruntime alone."""
