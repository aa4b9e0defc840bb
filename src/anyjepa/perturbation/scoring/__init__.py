"""Score predicted effects of perturbations: plain arrays in, no encoder and no torch."""
