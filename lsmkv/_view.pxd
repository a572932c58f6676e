# SPDX-License-Identifier: Apache-2.0
#
# What Keyspace.get_view needs of views; documented in _view.pyx.

from lsmkv._base cimport *


cdef class View:
    cdef lsmkv_view *_view
    cdef lsmkv_bytes _value
