"""Registration: where each point of post lies in pre (stages 2 and 3)."""
