"""The one exception for what a user can mend."""


class UserError(Exception):
    """What a user can mend: one line that says what was got, what was expected and what to do.

    Launchers print the line and end with exit code 2. Any other exception is our bug and keeps its traceback.
    """
