"""Dense attention of one query."""
