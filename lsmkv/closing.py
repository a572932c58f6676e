# SPDX-License-Identifier: Apache-2.0
"""Handles as context managers that close them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Closing:
    """What a `with` block closes at its end."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of what is held."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return what is to be closed."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


class AsyncClosing:
    """What an `async with` block closes at its end."""

    __slots__ = ()

    async def _end(self) -> None:
        """Close it; whether that waits is its own affair."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Return what is to be closed."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self._end()
