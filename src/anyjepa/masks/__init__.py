"""Who sees what: samplers of context and target tokens."""
