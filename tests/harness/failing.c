/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes allocations of one thread fail. Loaded before all other libraries it stands in
 * front of those of the C library: the interpreter (with PYTHONMALLOC=malloc), the
 * engine, NumPy and libzstd all come here. As a Python module it offers
 *
 *   call(function, first, count)   what function() returns, while the allocations
 *                                  first .. first + count - 1 of this thread fail
 *   failures()                     how many failed in the last call()
 *   live()                         blocks of all threads that were not given back
 *
 * The thread has its memory back before call() returns, so whatever the caller does
 * with an exception is done in peace. No data of the interpreter is referred to, only
 * functions: other programs can be started with this library, too.
 */
#include <Python.h>

#include <errno.h>
#include <stdatomic.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
    int armed;
    long before; /* allocations that still succeed */
    long count;  /* of those behind them that fail */
    long failures;
} state;

static atomic_long blocks;

static int fails(void) {
    if (!state.armed) {
        return 0;
    }
    if (state.before > 0) {
        state.before--;
        return 0;
    }
    if (state.failures == state.count) {
        return 0;
    }
    state.failures++;
    errno = ENOMEM;
    return 1;
}

static void *counted(void *block) {
    if (block != NULL) {
        atomic_fetch_add_explicit(&blocks, 1, memory_order_relaxed);
    }
    return block;
}

void *malloc(size_t size) {
    return fails() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *block, size_t size) {
    if (block == NULL) {
        return malloc(size);
    }
    return fails() ? NULL : __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size) {
    return fails() ? NULL : counted(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    void *found = memalign(alignment, size);

    if (found == NULL) {
        return ENOMEM;
    }
    *block = found;
    return 0;
}

void free(void *block) {
    if (block != NULL) {
        atomic_fetch_sub_explicit(&blocks, 1, memory_order_relaxed);
    }
    __libc_free(block);
}

static PyObject *failing_call(PyObject *module, PyObject *const *arguments,
                              Py_ssize_t count) {
    (void)module;
    (void)count;
    state.before = PyLong_AsLong(arguments[1]) - 1;
    state.count = PyLong_AsLong(arguments[2]);
    state.failures = 0;
    state.armed = 1;
    PyObject *result = PyObject_CallObject(arguments[0], NULL);
    state.armed = 0;
    return result;
}

static PyObject *failing_failures(PyObject *module, PyObject *nothing) {
    (void)module;
    (void)nothing;
    return PyLong_FromLong(state.failures);
}

static PyObject *failing_live(PyObject *module, PyObject *nothing) {
    (void)module;
    (void)nothing;
    return PyLong_FromLong(atomic_load(&blocks));
}

static PyMethodDef methods[] = {
    {"call", (PyCFunction)(void (*)(void))failing_call, METH_FASTCALL, NULL},
    {"failures", failing_failures, METH_NOARGS, NULL},
    {"live", failing_live, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "failing",
                                 .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_failing(void) {
    return PyModule_Create(&definition);
}
