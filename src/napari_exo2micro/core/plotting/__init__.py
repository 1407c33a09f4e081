"""Figures: one module a family; each draws what somebody else computed."""
