"""Features of sound: log-mel energies, pitch, voicing, energy and voice activity."""
