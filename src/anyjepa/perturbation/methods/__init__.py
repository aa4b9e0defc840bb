"""Methods that predict effects of perturbations: heads on an encoder, the model's own predictor, and ensembles."""
