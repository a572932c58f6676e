# SPDX-License-Identifier: Apache-2.0

from typing import Self

from typing_extensions import disjoint_base

from lsmkv._core import DB, Keyspace, Snapshot

@disjoint_base
class Namespace(Keyspace):
    @property
    def db(self) -> DB: ...
    @property
    def name(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    def __new__(
        cls,
        db: DB,
        name: str,
        wanted: dict[str, int],
        snapshot: Snapshot | None,
    ) -> Self: ...
    def _options(self) -> dict[str, int]: ...

def drop(db: DB, name: str) -> bool: ...
def names(db: DB, snapshot: Snapshot | None) -> dict[str, dict[str, int]]: ...
def stats(db: DB) -> dict[str, dict[str, int]]: ...
