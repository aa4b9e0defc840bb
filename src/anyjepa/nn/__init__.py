"""Building blocks: tokens, positions, transformer, encoder, predictor, pooling."""
