"""The one exception a user is meant to read."""


class InputError(ValueError):
    """A mistake in what was given: one sentence that says what, where, and the way out.

    It begins in lower case and has no full stop, as it may become a part of another sentence.
    The command line prints it and exits with status 2; in Python it is an ordinary `ValueError`.
    """
