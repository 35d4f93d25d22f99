"""Training the teachers, HRLF and ALMT, and importing checkpoints of ALMT."""
