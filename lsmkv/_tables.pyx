# SPDX-License-Identifier: Apache-2.0
"""The tables that there are; `lsmkv/stats.py` has the public face."""

from lsmkv._base cimport *
from lsmkv._core cimport DB


cdef tuple bound_of(const lsmkv_table_bound *bound):
    """(id of the namespace, its name or None, key)."""
    cdef object name = None
    if bound.space.data != NULL:
        name = (<const char *>bound.space.data)[:bound.space.size].decode()
    return bound.space_id, name, (<const char *>bound.key.data)[:bound.key.size]


cdef dict table_of(const lsmkv_table_info *table):
    cdef dict segments = {}
    cdef size_t i
    for i in range(table.segment_count):
        segments[table.segments[i].number] = table.segments[i].bytes
    return {
        "level": table.level,
        "number": table.number,
        "byte_count": table.byte_count,
        "raw_bytes": table.raw_bytes,
        "entry_count": table.entry_count,
        "tombstone_count": table.tombstone_count,
        "range_delete_count": table.range_delete_count,
        "sequence_min": table.sequence_min,
        "sequence_max": table.sequence_max,
        "expire_all_ms": table.expire_all_ms,
        "expire_half_ms": table.expire_half_ms,
        "first": bound_of(&table.first),
        "last": bound_of(&table.last),
        "last_excluded": table.last_excluded,
        "segments": segments,
    }


cdef void keep_table(void *context, const lsmkv_table_info *table) noexcept with gil:
    cdef Kept *kept = <Kept *>context
    try:
        (<list>kept.items).append(table_of(table))
    except MemoryError:
        kept.failed = True


def tables(DB db not None) -> list:
    """What lsmkv_tables_list() tells of each, as dicts."""
    cdef list found = []
    cdef Kept kept = keeping(found)
    cdef lsmkv_error err
    cdef lsmkv_status status
    with nogil:
        status = lsmkv_tables_list(db._db, keep_table, &kept, &err)
    check(status, &err, db.path)
    check_kept(&kept)
    return found
