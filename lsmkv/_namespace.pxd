# SPDX-License-Identifier: Apache-2.0
#
# Names and options, as everything that has a name takes them; see _namespace.pyx.

from lsmkv._base cimport *


cdef bytes encode(str name)
cdef int take_wanted(dict wanted, lsmkv_namespace_how *how) except -1


cdef inline void take_name(bytes encoded, lsmkv_bytes *view) noexcept:
    view.data = PyBytes_AS_STRING(encoded)
    view.size = <size_t>PyBytes_GET_SIZE(encoded)
