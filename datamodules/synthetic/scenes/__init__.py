"""The built-in scenes: people who move, and what the stages of a video pipeline would find of them."""
