"""How far exported graphs are from torch."""
