"""Many samples and dyes from the window."""
