"""The one error root of the domain: a rule said no."""


class Rejected(Exception):
    """A command that the rules refuse; the log is unchanged.

    ``code`` is stable and part of the public contract; ``advice`` tells the caller what to do next.
    """

    code = "rejected"

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class PhotoNotFound(Rejected):
    code = "photo-not-found"


class PhotoDeleted(Rejected):
    code = "photo-deleted"


class PhotoExists(Rejected):
    code = "photo-exists"


class UnknownPipeline(Rejected):
    code = "unknown-pipeline"


class InvalidPriority(Rejected):
    code = "invalid-priority"


class JobRunning(Rejected):
    code = "job-running"


class JobFailed(Rejected):
    code = "job-failed"


class NothingFailed(Rejected):
    code = "nothing-failed"


class UnknownStage(Rejected):
    code = "unknown-stage"


class PipelinePaused(Rejected):
    code = "pipeline-paused"


class InvalidLimit(Rejected):
    code = "invalid-limit-setting"


class InvalidRevocation(Rejected):
    code = "invalid-revocation"


class TooManyRevocations(Rejected):
    code = "too-many-revocations"
