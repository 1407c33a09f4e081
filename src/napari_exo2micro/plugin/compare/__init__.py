"""One parameter over several values, side by side."""
