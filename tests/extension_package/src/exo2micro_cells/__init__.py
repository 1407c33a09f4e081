"""Counts microbes: a plot, two parameters, a stage, a scale method and a loader."""
