"""Errors of the API: one exception, and the JSON body that clients get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classer_core.errors import FailureCode, RecordError


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        code: stable upper-case code, such as `VALIDATION_ERROR`.
        message: what is wrong, for people. It holds no path of the server and no key.
        field: the request field at fault.
        reason: the failure code of `classer run` for the same mistake.
        headers: more headers of the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.reason = reason
        self.headers = dict(headers or {})
        super().__init__(f"{status} {code}: {message}")

    def body(self) -> dict[str, Any]:
        """Return the JSON of the error.

        `error`, `code`, `message` and `details` are documented; the SDKs read `detail` alone, so it is a string.
        """
        body: dict[str, Any] = {
            "error": self.code.lower().replace("_", "-"),
            "code": self.code,
            "message": self.message,
            "detail": self.message,
        }
        details = {name: value for name, value in (("field", self.field), ("reason", self.reason)) if value}
        if details:
            body["details"] = details
        return body


def invalid_json(message: str) -> ApiError:
    """Return the error of a body that is not a JSON object."""
    return ApiError(400, "INVALID_JSON", message)


def unauthorized(message: str = "Invalid or missing API key") -> ApiError:
    """Return the error of a missing or unknown key."""
    return ApiError(401, "INVALID_API_KEY", message, headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str) -> ApiError:
    """Return the error of a key without the permission."""
    return ApiError(403, "FORBIDDEN", message)


def not_found(message: str = "There is nothing at this address") -> ApiError:
    """Return the error of an address without content."""
    return ApiError(404, "NOT_FOUND", message)


def classifier_not_found(reference: str) -> ApiError:
    """Return the error of a saved classifier, or a version of it, that does not exist."""
    message = f"There is no saved classifier {reference!r}. GET /v1/classifiers lists those there are"
    return ApiError(404, "CLASSIFIER_NOT_FOUND", message, field="classifier")


def conflict(message: str) -> ApiError:
    """Return the error of a step that a job's state does not allow."""
    return ApiError(409, "CONFLICT", message)


def too_large(limit_bytes: int) -> ApiError:
    """Return the error of a body above the limit."""
    return ApiError(413, "PAYLOAD_TOO_LARGE", f"The body is larger than {limit_bytes:,} bytes")


def invalid(message: str, field: str, reason: str | None = None) -> ApiError:
    """Return the error of a field that breaks a rule."""
    return ApiError(422, "VALIDATION_ERROR", message, field=field, reason=reason)


def rate_limited(message: str, retry_after_s: int) -> ApiError:
    """Return the error of a key that has used up what its limits allow."""
    return ApiError(429, "RATE_LIMIT_EXCEEDED", message, headers={"Retry-After": str(retry_after_s)})


def unavailable(message: str, retry_after_s: int) -> ApiError:
    """Return the error of a server that can't take the request now."""
    return ApiError(503, "UNAVAILABLE", message, headers={"Retry-After": str(retry_after_s)})


def internal() -> ApiError:
    """Return the error of the server's own mistakes; the log has the cause, by request id."""
    return ApiError(500, "INTERNAL_ERROR", "The server failed on this request; its log says why, by request id")


def of_record(error: RecordError) -> ApiError:
    """Return the error of a record that can't be classified."""
    if error.code == FailureCode.MODEL_FAILED:
        return ApiError(500, "INTERNAL_ERROR", "The model failed on this input", field=error.field, reason=error.code)
    message = error.message[:1].upper() + error.message[1:]
    return invalid(message, error.field or "text", error.code)
