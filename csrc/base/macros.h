/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes, the cleanup macro and the lock annotations that every file may use.
 * LSM_TRY expects a local `status` and a label `out:`; the first error wins.
 */
#ifndef LSM_BASE_MACROS_H
#define LSM_BASE_MACROS_H

#include <stddef.h>

#if defined(__GNUC__)
#define LSM_MUST_CHECK __attribute__((warn_unused_result))
#define LSM_PRINTF(format_index, first_index) \
    __attribute__((format(printf, format_index, first_index)))
#define LSM_LIKELY(x) __builtin_expect(!!(x), 1)
#define LSM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define LSM_PREFETCH(pointer) __builtin_prefetch(pointer)
#define LSM_NORETURN __attribute__((noreturn))
#define LSM_COLD __attribute__((cold))
#define LSM_NOINLINE __attribute__((noinline))
#define LSM_ALWAYS_INLINE inline __attribute__((always_inline))
#define LSM_UNUSED __attribute__((unused))
#else
#define LSM_MUST_CHECK
#define LSM_PRINTF(format_index, first_index)
#define LSM_LIKELY(x) (x)
#define LSM_UNLIKELY(x) (x)
#define LSM_PREFETCH(pointer) ((void)(pointer))
#define LSM_NORETURN
#define LSM_COLD
#define LSM_NOINLINE
#define LSM_ALWAYS_INLINE inline
#define LSM_UNUSED
#endif

/* Calls the function with the address of the variable when its scope ends. */
#define LSM_CLEANUP(function) __attribute__((cleanup(function)))

/* Thread-safety annotations, read by clang's -Wthread-safety. Only clang-tidy sees
 * them: clangs of some years back know no member's name in an attribute. */
#if defined(__clang_analyzer__)
#define LSM_CAPABILITY(name) __attribute__((capability(name)))
#define LSM_GUARDED_BY(mu) __attribute__((guarded_by(mu)))
#define LSM_REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define LSM_ACQUIRE(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define LSM_TRY_ACQUIRE(...) __attribute__((try_acquire_capability(__VA_ARGS__)))
#define LSM_RELEASE(...) __attribute__((release_capability(__VA_ARGS__)))
#define LSM_EXCLUDES(...) __attribute__((locks_excluded(__VA_ARGS__)))
#define LSM_NO_LOCK_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define LSM_CAPABILITY(name)
#define LSM_GUARDED_BY(mu)
#define LSM_REQUIRES(...)
#define LSM_ACQUIRE(...)
#define LSM_TRY_ACQUIRE(...)
#define LSM_RELEASE(...)
#define LSM_EXCLUDES(...)
#define LSM_NO_LOCK_ANALYSIS
#endif

/* For a function that runs before any other thread can know what it works on, or after
 * the last other one has let go of it: no lock is needed for any field. */
#define LSM_UNSHARED LSM_NO_LOCK_ANALYSIS

#define LSM_TRY(call)             \
    do {                          \
        status = (call);          \
        if (status != LSMKV_OK) { \
            goto out;             \
        }                         \
    } while (0)

#define LSM_CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

#define LSM_ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { LSM_CACHE_LINE = 64 };

#endif
