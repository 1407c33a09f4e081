"""What the package does as it happens, and the log of earlier runs."""
