"""What stands out of a difference: which are microbes, how many, how sure."""
