"""Masks and their samplers: which tokens are context and which are targets."""
