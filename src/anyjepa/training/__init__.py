"""Training with Lightning: one module, schedules by step, reproducible draws, and atomic checkpoints."""
