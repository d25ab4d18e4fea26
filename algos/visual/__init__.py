"""Methods that choose the visual tokens which enter a language model."""
