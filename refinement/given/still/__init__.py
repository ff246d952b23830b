"""What the still scene behind people says of the cameras: the same walls and floors, seen again on every frame."""
