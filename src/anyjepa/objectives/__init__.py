"""Objectives: encode, predict, compare. Each one reads from top to bottom on one screen."""
