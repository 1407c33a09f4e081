"""Forms made from the parameter registry, and a dock for each stage."""
