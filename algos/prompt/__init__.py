"""Methods that shorten the prompt before the model reads it."""
