"""A run folder, and what is done in it: pretrain, resume, evaluate, embed."""
