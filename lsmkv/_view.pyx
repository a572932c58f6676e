# SPDX-License-Identifier: Apache-2.0
"""Values lent instead of copied: what stands behind the memoryviews of get_view."""

from cpython.buffer cimport PyBuffer_FillInfo

from lsmkv._base cimport *


cdef class View:
    """Keeps the memory of a value, or its file, alive. A memoryview refers to it."""

    def __dealloc__(self):
        lsmkv_view_free(self._view)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        cdef void *data = <void *>self._value.data
        if data == NULL:
            data = <void *>b""
        PyBuffer_FillInfo(buffer, self, data, <Py_ssize_t>self._value.size, True, flags)
