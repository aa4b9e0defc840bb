"""Evaluate encoders with labels: features, probes, fine-tuning, metrics and controls, the same for every modality."""
