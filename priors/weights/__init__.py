"""Weights apart from checkpoints: as safetensors and JSON in a folder, published with this package, or on Hugging Face's hub."""
