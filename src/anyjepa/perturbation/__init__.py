"""Predict what a perturbation does to cells, and score such predictions, of any model."""
