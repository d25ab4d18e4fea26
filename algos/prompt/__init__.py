"""Methods that shorten a prompt before the model reads it."""
