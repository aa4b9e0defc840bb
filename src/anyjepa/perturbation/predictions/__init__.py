"""Predictions for perturbations that were not measured: by name, as counts, and as files."""
