"""Recipes, presets and settings: everything that decides how a command runs."""
