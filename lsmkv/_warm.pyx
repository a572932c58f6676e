# SPDX-License-Identifier: Apache-2.0
"""Reading ahead; `lsmkv/warm.py` is the public face."""

from lsmkv._base cimport *

from lsmkv._scan import narrow


cdef int on_progress(void *context, uint64_t done, uint64_t total) noexcept with gil:
    """Tell the callable how far it is; 0 after it raised."""
    cdef list state = <list>context
    try:
        state[0](done, total)
    except BaseException as failure:
        state.append(failure)
        return 0
    return 1


def warm(Handle space not None, prefix, uint64_t budget, progress) -> dict:
    """The report as a dict; 0 is the default budget, no prefix the hot list."""
    cdef list state = [progress]
    cdef Hold[2] hold
    cdef lsmkv_range range_
    cdef lsmkv_warm_how how
    cdef lsmkv_warm_report report
    cdef lsmkv_error err
    cdef lsmkv_status status
    start, stop = (None, None) if prefix is None else narrow(None, None, prefix)
    how.space = space._space
    how.budget_bytes = budget
    how.on_progress = NULL
    if progress is not None:
        how.on_progress = on_progress
    how.context = <void *>state
    how.range = NULL
    if prefix is not None:
        how.range = &range_
    take_range(start, stop, &range_, hold)
    with nogil:
        status = lsmkv_warm(space._db, &how, &report, &err)
    release_two(hold)
    if len(state) > 1:
        raise state[1]
    check(status, &err, space.path)
    return report
