"""Every error this package raises on purpose; it knows nothing of HTTP, files or kernels beyond their names.

    RealizarError
    ├── FormatError          a model file breaks its format: path, byte offset, what was found and allowed
    ├── UnsupportedError     well formed, but something we do not do: what it is, what we support
    ├── RequestError         a caller's value is wrong: status, message, field, code
    ├── ModelNotFoundError   no model of that name: the name, the names there are
    ├── CapacityError        it does not fit: what was needed, what there is
    └── BuildError           the kernels could not be built: what is missing, what to do

A message names the thing, the value found and the value allowed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class RealizarError(Exception):
    """Base of every error of this package."""


class FormatError(RealizarError):
    """A model file breaks its format.

    `path` names the file, `offset` is the byte position of the offending value (None where the rule is about
    the file as a whole), `message` has the value found and the value allowed.
    """

    def __init__(self, path: str, offset: int | None, message: str) -> None:
        self.path = path
        self.offset = offset
        self.message = message
        where = path if offset is None else f"{path}, byte {offset}"
        super().__init__(f"{where}: {message}")


class UnsupportedError(RealizarError):
    """Well formed, but not something we do. `what` names it, `supported` lists what we do instead."""

    def __init__(self, what: str, supported: Iterable[str] | str) -> None:
        self.what = what
        self.supported = supported if isinstance(supported, str) else ", ".join(supported)
        super().__init__(f"{what} is not supported; supported: {self.supported}")


class RequestError(RealizarError):
    """A caller's value is wrong.

    `status` is the HTTP status the fault maps to, `field` the name of the offending field or None, `code` the
    machine-readable code (`E_...`).
    """

    def __init__(self, status: int, message: str, field: str | None = None, code: str | None = None) -> None:
        self.status = status
        self.message = message
        self.field = field
        self.code = code or _CODES.get(status, "E_INVALID")
        super().__init__(message)


class ModelNotFoundError(RealizarError):
    """No model has this name. `known` are the names there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = sorted(known)
        listed = ", ".join(self.known) if self.known else "none"
        super().__init__(f"no model is named {name!r}; known models: {listed}")


class CapacityError(RealizarError):
    """It does not fit. `needed` and `available` are in `unit` (bytes, tokens, ...)."""

    def __init__(self, what: str, needed: int, available: int, unit: str = "bytes") -> None:
        self.what = what
        self.needed = needed
        self.available = available
        self.unit = unit
        super().__init__(f"{what} needs {needed} {unit}, there are {available}")


class BuildError(RealizarError):
    """The kernels could not be built or loaded; the message says what is missing and what to do."""


_CODES = {
    400: "E_BAD_VALUE",
    404: "E_NOT_FOUND",
    405: "E_METHOD_NOT_ALLOWED",
    413: "E_TOO_LARGE",
    415: "E_CONTENT_TYPE",
    422: "E_MALFORMED",
    429: "E_TOO_MANY_REQUESTS",
    500: "E_INTERNAL",
    503: "E_NOT_READY",
}
