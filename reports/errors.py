"""What stops a command besides a user's mistake."""


class Interrupted(Exception):
    """Ctrl-C in a long job; the message says what was kept."""
