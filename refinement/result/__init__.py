"""What comes out of a refinement: files that appear whole, how it went, and how far it is from the truth where that is known."""
