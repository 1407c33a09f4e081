"""Parts of panels that know nothing of a session: rows, buttons, messages, marks."""
