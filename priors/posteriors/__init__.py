"""What draws of poses given what was seen are made with; those of priors that are mixtures of normal densities."""
