"""The one exception that ropeleak raises for bad input."""


class RopeleakError(ValueError):
    """Bad input, told in one sentence that names the field, the value and the remedy.

    The command line prints the sentence and exits with code 2; no other exception is meant for
    the user.
    """
