# SPDX-License-Identifier: Apache-2.0
"""Reading ahead; `lsmkv/warm.py` is the public face."""

from lsmkv._base cimport *

from lsmkv._scan import narrow


cdef extern from "Python.h":
    # What fails leaves its exception where it is, or takes it from there.
    PyObject *PyObject_CallFunction(PyObject *callable, const char *format, ...)
    void PyErr_Fetch(PyObject **kind, PyObject **value, PyObject **traceback)
    void PyErr_Restore(PyObject *kind, PyObject *value, PyObject *traceback)
    void Py_DECREF(PyObject *source)


cdef struct Told:
    PyObject *progress  # a callable, borrowed
    PyObject *kind  # of the exception that it raised, or NULL
    PyObject *value
    PyObject *traceback


cdef int on_progress(void *context, uint64_t done, uint64_t total) noexcept with gil:
    """Tell the callable how far it is; 0 after it raised.

    In the words of C: those of Cython for keeping an exception want memory.
    """
    cdef Told *told = <Told *>context
    cdef PyObject *answer = PyObject_CallFunction(
        told.progress, "KK", <unsigned long long>done, <unsigned long long>total
    )
    if answer == NULL:
        PyErr_Fetch(&told.kind, &told.value, &told.traceback)
        return 0
    Py_DECREF(answer)
    return 1


cdef int reraise(const Told *told) except -1:
    """Raise what the callable has raised."""
    if told.kind == NULL:
        return 0
    PyErr_Restore(told.kind, told.value, told.traceback)
    return -1


def warm(Handle space not None, prefix, uint64_t budget, progress) -> dict:
    """The report as a dict; 0 is the default budget, no prefix the hot list."""
    cdef Told told
    cdef Hold[2] hold
    cdef lsmkv_range range_
    cdef lsmkv_warm_how how
    cdef lsmkv_warm_report report
    cdef lsmkv_error err
    cdef lsmkv_status status
    start, stop = (None, None) if prefix is None else narrow(None, None, prefix)
    told.progress = <PyObject *>progress
    told.kind = NULL
    how.space = space._space
    how.budget_bytes = budget
    how.on_progress = NULL
    if progress is not None:
        how.on_progress = on_progress
    how.context = &told
    how.range = NULL
    if prefix is not None:
        how.range = &range_
    take_range(start, stop, &range_, hold)
    with nogil:
        status = lsmkv_warm(space._db, &how, &report, &err)
    release_two(hold)
    reraise(&told)
    check(status, &err, space.path)
    return report
