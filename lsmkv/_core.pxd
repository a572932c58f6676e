# SPDX-License-Identifier: Apache-2.0
#
# What _codec.pyx needs of the engine, which only _core is linked with.

from lsmkv._capi cimport lsmkv_codec, lsmkv_error, lsmkv_status, lsmkv_zstd_functions


cdef lsmkv_status register_codec(const lsmkv_codec *codec,
                                 const lsmkv_zstd_functions *native,
                                 lsmkv_error *err) noexcept nogil
cdef int raise_status(lsmkv_status status, const lsmkv_error *err,
                      str directory) except -1
