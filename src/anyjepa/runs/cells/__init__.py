"""Use a model of cells: evaluate it on perturbations or proteins, and predict perturbations."""
