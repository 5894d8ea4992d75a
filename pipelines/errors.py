"""The two ways a command ends badly: the user's mistake (exit code 2) and a failure of the work (exit code 1)."""


class UserError(ValueError):
    """Something the user can put right. The message is one paragraph: what was found, where, and the remedy."""

    exit_code = 2


class JobFailed(RuntimeError):
    """A job could not finish. The message says which job, at which input, why, and how to go on."""

    exit_code = 1
