"""Dense attention of a whole prompt."""
