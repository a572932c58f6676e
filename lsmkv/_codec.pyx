# SPDX-License-Identifier: Apache-2.0
"""The zstd codec, native or through Python.

The native one is a table of libzstd's own functions, given by address: no GIL, no
crossing. The other serves interpreters whose `zstandard` package has no functions to
offer: a Python object that is called, with the GIL, for every block.

Background threads call it too, and a thread that asks for the GIL of an interpreter
that is ending never comes back, so that closing would wait for it for ever. Therefore
calls are counted, and stop(), run at exit, turns new ones away (they fail, which the
engine takes as an error or as "does not compress") and waits for those that run.
"""

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy
from posix.unistd cimport usleep

from lsmkv._base cimport *


cdef extern from *:
    """
    #include <stdatomic.h>

    enum { GATE_CLOSED = -(1 << 30) };
    static atomic_int gate; /* calls inside; below zero once it is closed */

    static void gate_leave(void) { atomic_fetch_sub(&gate, 1); }
    static int gate_enter(void) {
        if (atomic_fetch_add(&gate, 1) >= 0) {
            return 1;
        }
        gate_leave();
        return 0;
    }
    static void gate_close(void) {
        if (atomic_load(&gate) >= 0) {
            atomic_fetch_add(&gate, GATE_CLOSED);
        }
    }
    static int gate_idle(void) { return atomic_load(&gate) == GATE_CLOSED; }
    """
    bint gate_enter() noexcept nogil
    void gate_leave() noexcept nogil
    void gate_close() noexcept nogil
    bint gate_idle() noexcept nogil

cdef object make_codec = None  # level -> an object with compress and decompress


cdef void *create(int level) noexcept nogil:
    cdef void *context = NULL
    if gate_enter():
        with gil:
            context = create_with_gil(level)
        gate_leave()
    return context


cdef void *create_with_gil(int level) noexcept:
    try:
        codec = make_codec(level)
        Py_INCREF(codec)  # owned by the context until destroy()
        return <void *>codec
    except BaseException:
        return NULL


cdef void destroy(void *context) noexcept nogil:
    if gate_enter():
        with gil:
            Py_DECREF(<object>context)
        gate_leave()


cdef size_t bound(size_t size) noexcept nogil:
    return size + (size >> 8) + 512


cdef size_t compress(void *context, void *dst, size_t capacity, const void *src,
                     size_t size) noexcept nogil:
    cdef size_t written = 0
    if gate_enter():
        with gil:
            written = transform(context, True, dst, capacity, src, size)
        gate_leave()
    return written


cdef size_t decompress(void *context, void *dst, size_t capacity, const void *src,
                       size_t size) noexcept nogil:
    cdef size_t written = 0
    if gate_enter():
        with gil:
            written = transform(context, False, dst, capacity, src, size)
        gate_leave()
    return written


cdef size_t transform(void *context, bint forward, void *dst, size_t capacity,
                      const void *src, size_t size) noexcept:
    """The bytes written, or 0 for every kind of failure."""
    cdef size_t written
    try:
        codec = <object>context
        source = PyMemoryView_FromMemory(<char *>src, <Py_ssize_t>size, PyBUF_READ)
        if forward:
            result = codec.compress(source)
        else:
            result = codec.decompress(source, capacity)
        if not PyBytes_CheckExact(result):
            return 0
        written = <size_t>PyBytes_GET_SIZE(result)
        if written > capacity:
            return 0
        memcpy(dst, PyBytes_AS_STRING(result), written)
        return written
    except BaseException:
        return 0


def register_python(factory):
    """Register `factory(level)`, whose objects compress and decompress blocks."""
    cdef lsmkv_codec codec
    cdef lsmkv_error err
    cdef lsmkv_status status
    global make_codec
    make_codec = factory
    codec.id = LSMKV_CODEC_ZSTD
    codec.name = "zstd"
    codec.create = create
    codec.destroy = destroy
    codec.bound = bound
    codec.compress = compress
    codec.decompress = decompress
    with nogil:
        status = lsmkv_register_codec(&codec, &err)
    check(status, &err, "")


def register_native(dict addresses not None):
    """Register the libzstd functions at these addresses, given by their C names."""
    cdef lsmkv_zstd_functions functions
    cdef lsmkv_error err
    cdef lsmkv_status status
    functions.create_cctx = <void *><uintptr_t>addresses["ZSTD_createCCtx"]
    functions.free_cctx = <void *><uintptr_t>addresses["ZSTD_freeCCtx"]
    functions.create_dctx = <void *><uintptr_t>addresses["ZSTD_createDCtx"]
    functions.free_dctx = <void *><uintptr_t>addresses["ZSTD_freeDCtx"]
    functions.set_parameter = <void *><uintptr_t>addresses["ZSTD_CCtx_setParameter"]
    functions.compress2 = <void *><uintptr_t>addresses["ZSTD_compress2"]
    functions.decompress = <void *><uintptr_t>addresses["ZSTD_decompressDCtx"]
    functions.bound = <void *><uintptr_t>addresses["ZSTD_compressBound"]
    functions.is_error = <void *><uintptr_t>addresses["ZSTD_isError"]
    functions.version = <void *><uintptr_t>addresses["ZSTD_versionNumber"]
    with nogil:
        status = lsmkv_register_zstd(&functions, &err)
    check(status, &err, "")


def stop():
    """Turn further calls of the Python codec away and wait for those that run."""
    gate_close()
    with nogil:
        while not gate_idle():
            usleep(100)
