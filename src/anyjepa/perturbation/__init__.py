"""Predict the effect of perturbations on cells, and score such predictions from any model."""
