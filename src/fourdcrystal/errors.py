"""The one error that a user can cause: its text is the whole message, in one sentence."""


class InputError(Exception):
    """A setting, file or option that can't be used.

    The text names the setting or file, says what was wrong and what is allowed. Command lines print it without a
    traceback and exit with status 2.
    """
