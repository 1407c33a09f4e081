"""What the panels of one viewer share: the choice, its settings, jobs and results."""
