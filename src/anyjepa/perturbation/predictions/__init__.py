"""Predictions for perturbations that were not measured: by name, as counts, as files."""
