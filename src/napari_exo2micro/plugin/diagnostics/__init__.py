"""The diagnostic plots in a dock."""
