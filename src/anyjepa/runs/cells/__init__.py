"""What is done with a model of cells: evaluate it on a screen or on proteins, predict perturbations."""
