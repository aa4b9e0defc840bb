"""Recipes: one YAML file each, made of the parts' own configs."""
