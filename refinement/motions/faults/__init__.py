"""What is wrong with a motion, by kind: a score of each frame, 1 where people would call it a fault."""
