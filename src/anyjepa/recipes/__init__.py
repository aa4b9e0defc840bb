"""Recipes: YAML files with the configs of all parts of a run."""
