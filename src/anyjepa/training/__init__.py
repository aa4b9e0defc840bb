"""The thin layer on Lightning: one module, schedules by step, draws by address, atomic checkpoints."""
