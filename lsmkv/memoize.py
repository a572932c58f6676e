# SPDX-License-Identifier: Apache-2.0
"""Functions whose results are kept in a keyspace; `Keyspace.memoize` is the face."""

from __future__ import annotations

import functools
import hashlib
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from lsmkv import _base, _compute, codecs, compute

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from lsmkv.keyspace import Keyspace
    from lsmkv.ttl import Stale, Ttl

_P = ParamSpec("_P")
_R_co = TypeVar("_R_co", covariant=True)
_F = TypeVar("_F")

KEY_SIZE_PLAIN = 200  # arguments that take more are hashed

_SIMPLE = (type(None), bool, int, float, str, bytes)


class Memoized(Protocol[_P, _R_co]):
    """A function whose results are kept."""

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Return the result kept for these arguments, or compute it."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind as a method."""

    def key_of(self, *args: _P.args, **kwargs: _P.kwargs) -> bytes:
        """Return the key that the result for these arguments has."""

    def forget(self, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Delete the result for these arguments; one being computed is not kept."""


class How:
    """What `memoize` was given."""

    def __init__(
        self,
        space: Keyspace,
        key: Callable[..., Buffer | str] | None,
        codec: codecs.Codec[Any] | None,
        *,
        ttl: Ttl,
        stale: Stale,
    ) -> None:
        """Keep it."""
        self.space = space
        self.key = key
        self.codec: codecs.Codec[Any] = codecs.json if codec is None else codec
        self.ttl = ttl
        self.stale = stale
        compute.Want(space, ttl, stale)  # checks them now

    def __call__(self, fn: Callable[_P, _F]) -> Memoized[_P, _F]:
        """Return the function that looks for a result before it calls `fn`."""
        key_of = self._key_maker(fn)
        wrapper: Any = (
            self._wrap_async(cast("Any", fn), key_of)
            if inspect.iscoroutinefunction(fn)
            else self._wrap(fn, key_of)
        )
        wrapper.key_of = key_of
        wrapper.forget = lambda *args, **kwargs: self.space.delete(
            key_of(*args, **kwargs)
        )
        return cast("Memoized[_P, _F]", wrapper)

    def _wrap(
        self, fn: Callable[..., Any], key_of: Callable[..., bytes]
    ) -> Callable[..., Any]:
        space, codec, entry = self.space, self.codec, _compute.entry

        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            key = key_of(*args, **kwargs)
            found: Any = entry(space, key)
            if type(found) is not bytes:
                want = compute.Want(space, self.ttl, self.stale)
                found = compute.get(
                    space, want, key, lambda: codec.encode(fn(*args, **kwargs)), found
                )
            return codec.decode(found)

        return wrapper

    def _wrap_async(
        self, fn: Callable[..., Any], key_of: Callable[..., bytes]
    ) -> Callable[..., Any]:
        space, codec, entry = self.space, self.codec, _compute.entry

        @functools.wraps(fn)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            async def run() -> Buffer:
                return codec.encode(await fn(*args, **kwargs))

            key = key_of(*args, **kwargs)
            found: Any = entry(space, key, False)
            if type(found) is not bytes:
                want = compute.Want(space, self.ttl, self.stale)
                found = await compute.aget(space, want, key, run, found)
            return codec.decode(found)

        return wrapper

    def _key_maker(self, fn: Callable[..., Any]) -> Callable[..., bytes]:
        given = self.key
        if given is not None:

            def key_given(*args: Any, **kwargs: Any) -> bytes:
                key = given(*args, **kwargs)
                if type(key) is bytes:
                    return key
                return key.encode() if isinstance(key, str) else _base.to_bytes(key)

            return key_given
        signature = inspect.signature(fn)
        plain = all(
            each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
            for each in signature.parameters.values()
        )
        count = len(signature.parameters)
        name = f"{fn.__module__}.{fn.__qualname__}".encode() + b"\0"

        def key_of(*args: Any, **kwargs: Any) -> bytes:
            # f(1), f(x=1) and f() are the same call if x is 1 by default.
            if kwargs or len(args) != count or not plain:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                parts: Any = tuple(bound.arguments.values())
            else:
                parts = args
            text = ",".join(map(spell, parts)).encode("utf-8", "surrogatepass")
            if len(text) > KEY_SIZE_PLAIN:
                text = hashlib.blake2b(text, digest_size=32).digest()
            return name + text

        return key_of


def spell(value: object) -> str:
    """Return a text that only an equal argument of the same type has."""
    kind = type(value)
    if kind in _SIMPLE:
        return repr(value)
    if kind in (tuple, list):
        return f"{kind.__name__}({','.join(map(spell, cast('Any', value)))})"
    if kind is dict:
        pairs = cast("dict[object, object]", value).items()
        spelled = sorted(f"{spell(key)}:{spell(each)}" for key, each in pairs)
        return f"dict({','.join(spelled)})"
    if kind in (set, frozenset):
        return f"{kind.__name__}({','.join(sorted(map(spell, cast('Any', value))))})"
    raise TypeError(
        f"no key can be made of an argument of type {kind.__qualname__}: "
        f"give memoize a key=, a function of the same arguments that returns bytes"
    )
