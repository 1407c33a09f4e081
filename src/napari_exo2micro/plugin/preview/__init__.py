"""What a stage would find, while its parameters move."""
