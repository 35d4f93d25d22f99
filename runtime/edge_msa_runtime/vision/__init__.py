"""Features of a face from pictures, with the models of MediaPipe's Face Landmarker."""
