"""Sound and pictures from files, microphones and cameras."""
