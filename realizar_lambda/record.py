"""`namedtuple` at a tenth of its cost: a class in 10 us where `collections` compiles source text for it, 60 to 250 us.

Some twenty of them are made on the way to a first answer. What they do is the same; making an instance takes 0.3 us
more, since one `__new__` serves all classes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import namedtuple as namedtuple
    from collections.abc import Iterable, Sequence
    from typing import Any, Self
else:
    from _collections import _tuplegetter

    def namedtuple(name: str, fields: str, *, defaults: Sequence[Any] = ()) -> type:
        """A class of tuples whose `fields`, words with spaces between, are attributes; `defaults` are of the last."""
        names = tuple(fields.split())
        members = {field: _tuplegetter(place, field) for place, field in enumerate(names)}
        defaulted = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
        words = {"__slots__": (), "_fields": names, "_field_defaults": defaulted, "__match_args__": names}
        return type(name, (Record,), members | words)


class Record(tuple):  # type: ignore[type-arg]
    """What all of them can do."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _field_defaults: dict[str, Any] = {}  # noqa: RUF012  (of the class; nobody writes to it)

    def __new__(cls, *values: Any, **named: Any) -> Self:
        if len(values) != len(cls._fields):
            values += tuple(cls._missing(field, named) for field in cls._fields[len(values) :])
        if named or len(values) != len(cls._fields):
            raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
        return tuple.__new__(cls, values)

    @classmethod
    def _missing(cls, field: str, named: dict[str, Any]) -> Any:
        if field in named:
            return named.pop(field)
        if field in cls._field_defaults:
            return cls._field_defaults[field]
        raise TypeError(f"{cls.__name__} needs {field!r}")

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Self:
        return cls(*values)

    def _replace(self, **named: Any) -> Self:
        values = tuple(named.pop(field, value) for field, value in zip(self._fields, self, strict=True))
        if named:
            raise ValueError(f"{type(self).__name__} has no field {', '.join(named)}")
        return tuple.__new__(type(self), values)

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        members = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
        return f"{type(self).__name__}({members})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)
