"""C functions by name, and where a buffer's bytes lie, over the part of `ctypes` that is itself C. It knows no kernel.

`ctypes` also sets up callbacks, strings and byte orders that nothing here uses: 1 ms of a cold start.
"""

from __future__ import annotations

from _ctypes import FUNCFLAG_CDECL, FUNCFLAG_PYTHONAPI, Array, CFuncPtr, _SimpleCData, dlopen, dlsym

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Simple = _SimpleCData[Any]
else:
    Simple = _SimpleCData


class Address(Simple):
    """`void *`: an integer, None, or an object with bytes."""

    _type_ = "P"


class Int64(Simple):
    """`int64_t`."""

    _type_ = "q"


class Int(Simple):
    """`int`."""

    _type_ = "i"


class Float64(Simple):
    """`double`."""

    _type_ = "d"


class Object(Simple):
    """`PyObject *`."""

    _type_ = "O"


KINDS = {"p": Address, "i": Int64, "f": Float64, "v": None}
"""Kinds of arguments and results as `ops.EXPORTS` writes them."""


class Freeing(CFuncPtr):
    """A function that runs without the GIL."""

    _flags_ = FUNCFLAG_CDECL


class Holding(CFuncPtr):
    """A function that keeps the GIL, as the interpreter's own do; an exception that it sets is raised."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI


def open_library(path: str | None) -> int:
    """The handle of a shared library, of the interpreter itself for None; open for good. Raises OSError."""
    handle: int = dlopen(path, 0)  # type: ignore[arg-type]  # None is the interpreter
    return handle


def function(
    handle: int, name: str, result: type[Simple] | None, arguments: list[Any], *, holds_gil: bool
) -> Callable[..., Any]:
    """The function of a library. Raises AttributeError where there is none of this name."""
    try:
        place = dlsym(handle, name)
    except OSError as error:
        raise AttributeError(str(error)) from None
    found: Any = (Holding if holds_gil else Freeing)(place)
    found.restype = result
    found.argtypes = arguments
    return found  # type: ignore[no-any-return]


class _View(Array):  # type: ignore[type-arg]
    """CPython's Py_buffer as ten words, the first of which is the address."""

    _type_ = Int64
    _length_ = 10


class Bits128(Array):  # type: ignore[type-arg]
    """Sixteen bytes of memory."""

    _type_ = Int64
    _length_ = 2


def interpreters(name: str, result: type[Simple] | None, arguments: list[Any]) -> Callable[..., Any]:
    """A function of the interpreter or of the C library that it runs on. Raises AttributeError."""
    return function(_interpreter, name, result, arguments, holds_gil=True)


_interpreter = open_library(None)
_get_buffer = interpreters("PyObject_GetBuffer", Int, [Object, Address, Int])
_release = interpreters("PyBuffer_Release", None, [Address])


def address(buffer: object) -> int:
    """The address of a C-contiguous buffer's first byte; the caller keeps the buffer alive while it is used."""
    view = _View()
    _get_buffer(buffer, view, 0)
    start: int = view[0]
    _release(view)
    return start
