/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation. In a testing build every request gets a number, and a request whose
 * number was chosen to fail answers NULL; `live` follows what was given out and not
 * yet returned, so that a test can state that nothing leaked.
 *
 * A budget is charged what the C library says a piece really takes, which is asked for
 * only while a budget is in force: no piece carries a header.
 */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __APPLE__
#include <malloc/malloc.h>
#else
#include <malloc.h>
#endif

#include "base/budget.h"

#ifdef LSMKV_TESTING

#include <stdatomic.h>

static _Atomic uint64_t requested; /* requests so far: the number of the next one */
static _Atomic uint64_t live;
static _Atomic uint64_t fail_first = UINT64_MAX; /* the first request that fails */
static _Atomic uint64_t fail_last = UINT64_MAX;  /* the last one */

static _Thread_local bool exempted;

static void (*_Atomic watcher)(size_t size);

static bool refused(size_t size) {
    void (*watch)(size_t) = atomic_load(&watcher);

    if (watch != NULL) {
        watch(size);
    }
    if (exempted) {
        return false;
    }
    uint64_t number = atomic_fetch_add(&requested, 1);

    return LSM_UNLIKELY(number >= atomic_load(&fail_first)) &&
           number <= atomic_load(&fail_last);
}

static void *taken(void *memory) {
    if (memory != NULL) {
        atomic_fetch_add(&live, 1);
    }
    return memory;
}

static void returned(const void *memory) {
    if (memory != NULL) {
        atomic_fetch_sub(&live, 1);
    }
}

uint64_t lsm_alloc_live(void) {
    return atomic_load(&live);
}

uint64_t lsm_alloc_count(void) {
    return atomic_load(&requested);
}

void lsm_alloc_fail_range(uint64_t after, uint64_t count) {
    uint64_t first = atomic_load(&requested) + after;

    /* The window is opened last, so that no request sees half of the change. */
    atomic_store(&fail_first, UINT64_MAX);
    atomic_store(&fail_last,
                 count > UINT64_MAX - first ? UINT64_MAX : first + count - 1);
    atomic_store(&fail_first, first);
}

void lsm_alloc_fail_after(uint64_t after, int sticky) {
    lsm_alloc_fail_range(after, sticky ? UINT64_MAX : 1);
}

void lsm_alloc_fail_never(void) {
    atomic_store(&fail_first, UINT64_MAX);
}

void lsm_alloc_set_watch(void (*watch)(size_t size)) {
    atomic_store(&watcher, watch);
}

void lsm_alloc_exempt(bool exempt) {
    exempted = exempt;
}

#else

static inline bool refused(size_t size) {
    (void)size;
    return false;
}

static inline void *taken(void *memory) {
    return memory;
}

static inline void returned(const void *memory) {
    (void)memory;
}

#endif

/* What a piece takes. */
static size_t real_size(void *memory) {
#ifdef __APPLE__
    return malloc_size(memory);
#else
    return malloc_usable_size(memory);
#endif
}

/* Whether the budget in force, if there is one, has room. */
static inline bool allowed(size_t size) {
    lsm_budget *budget = lsm_budget_current;

    return LSM_LIKELY(budget == NULL) || lsm_budget_take(budget, size);
}

/* What became of a request that was allowed. */
static inline void *counted(void *memory, size_t size) {
    lsm_budget *budget = lsm_budget_current;

    if (LSM_UNLIKELY(budget != NULL)) {
        lsm_budget_correct(budget, size, memory == NULL ? 0 : real_size(memory));
    }
    return taken(memory);
}

static inline void uncount(void *memory) {
    lsm_budget *budget = lsm_budget_current;

    if (LSM_UNLIKELY(budget != NULL) && memory != NULL) {
        lsm_budget_give(budget, real_size(memory));
    }
    returned(memory);
}

void *lsm_alloc(size_t size) {
    if (size == 0 || refused(size) || !allowed(size)) {
        return NULL;
    }
    return counted(malloc(size), size);
}

void *lsm_calloc(size_t count, size_t size) {
    if (count == 0 || size == 0 || count > SIZE_MAX / size || refused(count * size) ||
        !allowed(count * size)) {
        return NULL;
    }
    return counted(calloc(count, size), count * size);
}

/* Of a piece that grows, only what it grows by is new. */
static LSM_NOINLINE void *realloc_counted(void *old, size_t size, lsm_budget *budget) {
    size_t before = old == NULL ? 0 : real_size(old);
    size_t more = size > before ? size - before : 0;

    if (more != 0 && !lsm_budget_take(budget, more)) {
        return NULL;
    }
    void *memory = realloc(old, size);
    size_t after = memory == NULL ? before : real_size(memory);
    lsm_budget_correct(budget, before + more, after);
    return memory;
}

void *lsm_realloc(void *old, size_t size) {
    lsm_budget *budget = lsm_budget_current;
    void *memory = NULL;

    if (size == 0 || refused(size)) {
        return NULL;
    }
    memory = LSM_LIKELY(budget == NULL) ? realloc(old, size)
                                        : realloc_counted(old, size, budget);
    return old == NULL ? taken(memory) : memory;
}

void *lsm_alloc_aligned(size_t size) {
    if (size == 0 || size > SIZE_MAX - LSM_CACHE_LINE || refused(size)) {
        return NULL;
    }
    size = (size + LSM_CACHE_LINE - 1) & ~(size_t)(LSM_CACHE_LINE - 1);
    return allowed(size) ? counted(aligned_alloc(LSM_CACHE_LINE, size), size) : NULL;
}

/* Straight from the system and trimmed: the C library would keep as much address space
 * again for the alignment. */
static void *map_huge(size_t size) {
    size_t around = size + LSM_HUGE_PAGE;
    uint8_t *begin =
        mmap(NULL, around, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (begin == MAP_FAILED) {
        return NULL;
    }
    size_t before = (size_t)(-(uintptr_t)begin & (LSM_HUGE_PAGE - 1));
    if (before != 0) {
        (void)munmap(begin, before);
    }
    (void)munmap(begin + before + size, LSM_HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
    /* Only a wish: without huge pages everything works, more slowly. */
    (void)madvise(begin + before, size, MADV_HUGEPAGE);
#endif
    return begin + before;
}

void *lsm_alloc_huge(size_t size) {
    if (size == 0 || size % LSM_HUGE_PAGE != 0 || size > SIZE_MAX - LSM_HUGE_PAGE ||
        refused(size) || !allowed(size)) {
        return NULL;
    }
    void *memory = map_huge(size);
    if (memory == NULL && lsm_budget_current != NULL) {
        lsm_budget_give(lsm_budget_current, size);
    }
    return taken(memory);
}

void lsm_free_huge(void *memory, size_t size) {
    if (memory != NULL) {
        if (lsm_budget_current != NULL) {
            lsm_budget_give(lsm_budget_current, size);
        }
        returned(memory);
        (void)munmap(memory, size);
    }
}

void lsm_free(void *memory) {
    uncount(memory);
    free(memory);
}

void lsm_free_aligned(void *memory) {
    uncount(memory);
    free(memory);
}

char *lsm_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = lsm_alloc(size);

    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

bool lsm_grow(void **array, size_t *capacity, size_t needed, size_t element_size) {
    size_t wanted = *capacity < 4 ? 4 : *capacity;
    void *memory = NULL;

    if (needed <= *capacity) {
        return true;
    }
    while (wanted < needed) {
        wanted = wanted > SIZE_MAX / 2 ? needed : wanted * 2;
    }
    if (wanted > SIZE_MAX / element_size) {
        return false;
    }
    /* memcpy, because the caller's pointer has some other type than void *. */
    memcpy((void *)&memory, (const void *)array, sizeof(memory));
    memory = lsm_realloc(memory, wanted * element_size);
    if (memory == NULL) {
        return false;
    }
    memcpy((void *)array, (const void *)&memory, sizeof(memory));
    *capacity = wanted;
    return true;
}
