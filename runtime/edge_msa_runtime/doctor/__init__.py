"""What this device has, what is wrong, and how to fix it."""
