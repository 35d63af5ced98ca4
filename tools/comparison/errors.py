"""The error that a user can mend."""


class ComparisonError(Exception):
    """Something about the runs or their figures that the user can mend.

    The message names the file, run or value and says what to do; the command
    line prints it without a traceback.
    """
