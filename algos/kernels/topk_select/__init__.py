"""The k largest scores of each row."""
