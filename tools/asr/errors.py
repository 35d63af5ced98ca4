"""The errors of an ASR evaluation."""


class AsrError(Exception):
    """Something that the user can mend.

    The message names the file, option or value and says what to do; the
    command line prints it without a traceback.
    """


class RecognitionError(Exception):
    """One recording that was not recognised; the message says why."""
