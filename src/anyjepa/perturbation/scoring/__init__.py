"""Score predicted effects of perturbations, given as plain arrays; needs neither an encoder nor torch."""
