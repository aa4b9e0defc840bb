"""Simulated ECGs, for demos and tests without a download."""
