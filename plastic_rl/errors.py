"""Mistakes that are the user's to mend: shown as one line, never as a traceback."""


class UserError(Exception):
    """Something that the command was asked for cannot be done. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """The command was called wrongly. Exit code 2."""

    exit_code = 2
