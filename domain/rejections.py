"""The rejections of the domain: a rule said no."""


class Rejected(Exception):
    """The root of all errors of the domain: a rule rejects a command, and the log is unchanged.

    ``code`` is stable and part of the public contract. ``advice`` tells the caller what to do next.
    ``retry_after_s`` is when the same command may be accepted, if that is known.
    """

    code = "rejected"

    def __init__(
        self, message: str, *, advice: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.retry_after_s = retry_after_s


class PhotoNotFound(Rejected):
    code = "photo-not-found"


class PhotoIsDeleted(Rejected):
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


class JobEnded(Rejected):
    code = "job-ended"


class NothingFailed(Rejected):
    code = "nothing-failed"


class UnknownStage(Rejected):
    code = "unknown-stage"


class PipelinePaused(Rejected):
    code = "pipeline-paused"


class InvalidPauseEnd(Rejected):
    code = "invalid-pause-end"


class InvalidLimit(Rejected):
    code = "invalid-limit-setting"


class TooManySuperseded(Rejected):
    code = "too-many-superseded"


class TooManyQuotas(Rejected):
    code = "too-many-quotas"


class InvalidRevocation(Rejected):
    code = "invalid-revocation"


class TooManyRevocations(Rejected):
    code = "too-many-revocations"


class InvalidKey(Rejected):
    code = "invalid-key"


class TooManyKeys(Rejected):
    code = "too-many-keys"


class KeyNotFound(Rejected):
    code = "key-not-found"


class InvalidWebhook(Rejected):
    code = "invalid-webhook"


class TooManyWebhooks(Rejected):
    code = "too-many-webhooks"


class WebhookNotFound(Rejected):
    code = "webhook-not-found"


class SessionIsClosed(Rejected):
    code = "session-closed"


class QuotaPhotos(Rejected):
    """The client has as many photos as its quota allows; the other quotas work the same way."""

    code = "quota-photos"


class QuotaBytes(Rejected):
    code = "quota-bytes"


class QuotaJobs(Rejected):
    code = "quota-jobs"


class QuotaUploads(Rejected):
    code = "quota-uploads"


class QuotaIdempotencyKeys(Rejected):
    code = "quota-idempotency-keys"


OverQuota = QuotaPhotos | QuotaBytes | QuotaJobs | QuotaUploads | QuotaIdempotencyKeys
