"""Searching for students: the space, the shared study, the Pareto set, the answer and its page; no torch in here."""
