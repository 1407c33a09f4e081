"""The batch dock: many samples and dyes in one go."""
