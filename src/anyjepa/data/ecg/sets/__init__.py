"""Published sets of ECGs: how their folders are laid out, who their patients are, and what their labels mean."""
