"""What a prior of clips leaves of noise, gaps and hidden limbs, beside what simple ways leave."""
