"""What a person works on, the stages in their order, and how far they are."""
