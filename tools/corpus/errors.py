"""The error that a user can mend."""


class CorpusError(Exception):
    """Something about the options or the material that the user can mend.

    The message names the file, option or value and says what to do; the
    command line prints it without a traceback.
    """
