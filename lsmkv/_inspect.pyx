# SPDX-License-Identifier: Apache-2.0
"""What is in one file; `lsmkv/inspection.py` is the public face."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize

from lsmkv._base cimport *

TYPES = {
    "": LSMKV_FILE_UNKNOWN,
    "log": LSMKV_FILE_LOG,
    "manifest": LSMKV_FILE_MANIFEST,
    "values": LSMKV_FILE_VALUES,
    "cache": LSMKV_FILE_CACHE,
    "table": LSMKV_FILE_TABLE,
    "current": LSMKV_FILE_CURRENT,
    "hotlist": LSMKV_FILE_HOTLIST,
}
cdef dict kinds = {
    LSMKV_PART_FILE: "file",
    LSMKV_PART_BLOCK: "block",
    LSMKV_PART_RECORD: "record",
    LSMKV_PART_FRAME: "frame",
    LSMKV_PART_FIELD: "field",
    LSMKV_PART_ENTRY: "entry",
    LSMKV_PART_REST: "rest",
    LSMKV_PART_DAMAGE: "damage",
}


cdef object value_of(const lsmkv_fact *fact):
    """A fact as an int, bytes, or str."""
    if fact.form == LSMKV_FACT_NUMBER:
        return fact.number
    if fact.form == LSMKV_FACT_HEX:
        return f"{fact.number:016x}"
    data = PyBytes_FromStringAndSize(
        <const char *>fact.bytes.data, <Py_ssize_t>fact.bytes.size
    )
    if fact.form == LSMKV_FACT_ID:
        return data.hex()
    return data.decode("utf-8", "replace") if fact.form == LSMKV_FACT_TEXT else data


@cython.no_gc_clear
@cython.final
cdef class Inspection:
    """An iterator over the parts: tuples of kind, name, offset, size and facts."""

    cdef lsmkv_inspection *_inspection
    cdef str _directory
    cdef bint _busy

    def __cinit__(self, bytes directory not None, bytes name not None, *, str type,
                  uint64_t file_id, bint sealed, bint entries, str shown):
        cdef const char *where = directory
        cdef const char *which = name
        cdef lsmkv_inspect_how how
        cdef lsmkv_error err
        cdef lsmkv_status status
        how.type = TYPES[type]
        how.file_id = file_id
        how.sealed = sealed
        how.entries = entries
        self._directory = shown
        with nogil:
            status = lsmkv_inspect_open(where, which, &how, &self._inspection, &err)
        check(status, &err, shown)

    def __dealloc__(self):
        with nogil:
            lsmkv_inspect_free(self._inspection)

    def __iter__(self):
        return self

    def __next__(self):
        cdef lsmkv_part part
        cdef lsmkv_error err
        cdef lsmkv_status status
        cdef size_t i
        with cython.critical_section(self):
            refuse_busy(self._busy, "inspection")
            self._busy = True
        try:
            with nogil:
                status = lsmkv_inspect_next(self._inspection, &part, &err)
            if status == LSMKV_NOT_FOUND:
                raise StopIteration
            check(status, &err, self._directory)
            facts = {}
            for i in range(part.fact_count):
                facts[part.facts[i].name.decode()] = value_of(&part.facts[i])
        finally:
            self._busy = False
        return (
            kinds[part.kind], part.name.decode(), part.offset, part.size, facts
        )
