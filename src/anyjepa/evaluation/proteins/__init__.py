"""Evaluate how well expression predicts the proteins of the same cells."""
