"""Judging what expression says of the proteins of the same cells."""
