"""A value of the view, as an attribute that tells when it changes."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class Shown(Generic[T]):
    """Attribute that emits a signal of its owner when it is set to another value.

    The value is kept under the name with an underscore: the owner sets that where one signal
    speaks for several changes.

    Parameters
    ----------
    default
        Value before anything is set.
    signal
        Name of the owner's signal.
    """

    def __init__(self, default: T, signal: str) -> None:
        self._default, self._signal = default, signal

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_{name}"

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: object | None, kind: type) -> Any:
        return self if owner is None else owner.__dict__.get(self._slot, self._default)

    def __set__(self, owner: object, value: T) -> None:
        if value != owner.__dict__.get(self._slot, self._default):
            owner.__dict__[self._slot] = value
            getattr(owner, self._signal).emit()
