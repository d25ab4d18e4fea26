"""The one exception for what a user can cause."""


class InputError(ValueError):
    """A user's mistake, told in one sentence: the thing, the requirement, the value.

    The command line prints it and exits with code 2; nothing else is printed.
    """
