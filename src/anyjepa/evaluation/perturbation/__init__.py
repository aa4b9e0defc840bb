"""Judge predictions of perturbed cells, any model's, on plain arrays: baselines, metrics, controls, intervals."""
