"""Training and importing the teachers, HRLF and ALMT."""
