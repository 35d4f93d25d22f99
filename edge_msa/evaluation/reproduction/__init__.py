"""Reproduction of papers: published results, corrupted inputs, significance tests, tables and plots."""
