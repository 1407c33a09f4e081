"""Moving another layer by an alignment."""
