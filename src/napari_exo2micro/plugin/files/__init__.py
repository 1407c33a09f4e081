"""Opening and saving: the reader, the sample data and the writers."""
