"""Methods that predict effects of perturbations: heads on an encoder, its own predictor, ensembles."""
