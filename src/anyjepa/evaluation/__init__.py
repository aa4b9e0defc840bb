"""Judge encoders on labels: features, probes, fine-tuning, metrics and controls, the same for every modality."""
