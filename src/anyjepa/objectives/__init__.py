"""Objectives: encode, predict, compare. Each reads in one screen."""
