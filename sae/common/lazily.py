"""Attributes that are worked out when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")
_NOT_YET = object()


class lazily(Generic[T]):
    """`functools.cached_property` without the lock that Python 3.11 holds over all instances of a class.

    Under that lock fifty visitors read files one after the other, whichever runs they look at. Without it two threads
    that ask at the same moment may both work it out; the value is the same.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Self | T:
        if instance is None:
            return self
        kept = instance.__dict__
        value = kept.get(self.name, _NOT_YET)
        if value is _NOT_YET:
            value = kept[self.name] = self.function(instance)
        return value
