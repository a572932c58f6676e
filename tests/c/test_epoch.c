/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a retired object is released exactly once, never while a reader that could
 * hold it is inside, and soon after. Method: readers entered and left by hand for each
 * order of events; then threads that read an object another thread keeps replacing,
 * where a released object is marked dead and its memory given back.
 */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/epoch.h"
#include "base/macros.h"

typedef struct thing {
    lsm_retired retired;
    int released;
} thing;

static void mark_released(lsm_retired *retired) {
    LSM_CONTAINER_OF(retired, thing, retired)->released++;
}

LSM_TEST(retire_without_readers_releases_at_once) {
    thing object = {0};
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    lsm_epoch_leave(lsm_epoch_enter(&epoch));
    lsm_epoch_retire(&epoch, &object.retired, mark_released);
    CHECK_EQ(object.released, 1);
    lsm_epoch_deinit(&epoch);
    CHECK_EQ(object.released, 1);
}

LSM_TEST(a_reader_inside_keeps_what_was_retired_after_it_entered) {
    for (int flips = 0; flips < 4; flips++) {
        thing first = {0};
        thing second = {0};
        lsm_epoch_token token = NULL;
        lsm_epoch epoch;

        CHECK(lsm_epoch_init(&epoch));
        for (int i = 0; i < flips; i++) {
            thing other = {0};

            lsm_epoch_retire(&epoch, &other.retired, mark_released);
            CHECK_EQ(other.released, 1);
        }
        token = lsm_epoch_enter(&epoch);
        lsm_epoch_retire(&epoch, &first.retired, mark_released);
        lsm_epoch_retire(&epoch, &second.retired, mark_released);
        for (int i = 0; i < 5; i++) {
            lsm_epoch_poll(&epoch);
            CHECK_EQ(first.released + second.released, 0);
        }
        lsm_epoch_leave(token);
        lsm_epoch_poll(&epoch);
        CHECK_EQ(first.released, 1);
        CHECK_EQ(second.released, 1);
        lsm_epoch_deinit(&epoch);
    }
}

LSM_TEST(readers_that_come_later_do_not_hold_up_a_release) {
    thing object = {0};
    lsm_epoch_token early = NULL;
    lsm_epoch_token late = NULL;
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    early = lsm_epoch_enter(&epoch);
    lsm_epoch_retire(&epoch, &object.retired, mark_released);
    late = lsm_epoch_enter(&epoch);
    lsm_epoch_leave(early);
    lsm_epoch_poll(&epoch);
    CHECK_EQ(object.released, 1);
    lsm_epoch_leave(late);
    lsm_epoch_deinit(&epoch);
}

LSM_TEST(a_reader_that_chose_its_parity_before_a_flip_is_waited_for) {
    thing earlier = {0};
    thing object = {0};
    lsm_epoch_token token = NULL;
    uint64_t parity = 0;
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    lsm_epoch_leave(lsm_epoch_enter(&epoch));
    /* What lsm_epoch_enter does, with a whole grace period between its two steps. */
    parity = atomic_load(&epoch.number) & 1;
    lsm_epoch_retire(&epoch, &earlier.retired, mark_released);
    CHECK_EQ(earlier.released, 1);
    token = &epoch.stripes[lsm_epoch_stripe_plus_1 - 1].active[parity];
    atomic_fetch_add(token, 1);
    lsm_epoch_retire(&epoch, &object.retired, mark_released);
    CHECK_EQ(object.released, 0);
    lsm_epoch_leave(token);
    lsm_epoch_poll(&epoch);
    CHECK_EQ(object.released, 1);
    lsm_epoch_deinit(&epoch);
}

LSM_TEST(overlapping_readers_never_stop_grace_periods) {
    thing objects[100] = {0};
    lsm_epoch_token token = NULL;
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    token = lsm_epoch_enter(&epoch);
    for (int i = 0; i < 100; i++) {
        lsm_epoch_token next = lsm_epoch_enter(&epoch);

        lsm_epoch_retire(&epoch, &objects[i].retired, mark_released);
        lsm_epoch_leave(token);
        token = next;
        lsm_epoch_poll(&epoch);
        CHECK(i < 4 || objects[i - 4].released == 1);
    }
    lsm_epoch_leave(token);
    lsm_epoch_deinit(&epoch);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(objects[i].released, 1);
    }
}

LSM_TEST(deinit_releases_what_is_still_retired) {
    thing object = {0};
    lsm_epoch_token token = NULL;
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    token = lsm_epoch_enter(&epoch);
    lsm_epoch_retire(&epoch, &object.retired, mark_released);
    lsm_epoch_leave(token);
    CHECK_EQ(object.released, 0);
    lsm_epoch_deinit(&epoch);
    CHECK_EQ(object.released, 1);
}

LSM_TEST(epoch_init_reports_missing_memory) {
    lsm_epoch epoch;

    lsm_alloc_fail_after(0, 0);
    CHECK(!lsm_epoch_init(&epoch));
    lsm_epoch_deinit(&epoch);
}

LSM_TEST(idle_is_false_exactly_while_a_reader_is_inside) {
    lsm_epoch_token token = NULL;
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    CHECK(lsm_epoch_idle(&epoch));
    token = lsm_epoch_enter(&epoch);
    CHECK(!lsm_epoch_idle(&epoch));
    lsm_epoch_leave(token);
    CHECK(lsm_epoch_idle(&epoch));
    lsm_epoch_deinit(&epoch);
}

/* An object whose release retires the next one. */
typedef struct chained {
    lsm_retired retired;
    lsm_epoch *epoch;
    struct chained *next;
    int *released;
} chained;

static void release_chained(lsm_retired *retired) {
    chained *link = LSM_CONTAINER_OF(retired, chained, retired);
    chained *next = link->next;
    lsm_epoch *epoch = link->epoch;

    ++*link->released;
    lsm_free(link);
    if (next != NULL) {
        lsm_epoch_retire(epoch, &next->retired, release_chained);
    }
}

LSM_TEST(a_long_chain_of_releases_does_not_nest) {
    enum { LINKS = 300000 };
    chained *head = NULL;
    int released = 0;
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    for (int i = 0; i < LINKS; i++) {
        chained *link = lsm_alloc(sizeof(*link));

        CHECK(link != NULL);
        *link = (chained){.epoch = &epoch, .next = head, .released = &released};
        head = link;
    }
    lsm_epoch_retire(&epoch, &head->retired, release_chained);
    CHECK_EQ(released, LINKS);
    lsm_epoch_deinit(&epoch);
}

typedef struct crowd {
    lsm_epoch epoch;
    pthread_barrier_t entered;
    pthread_barrier_t may_leave;
} crowd;

static void *stand_inside(void *argument) {
    crowd *all = argument;
    lsm_epoch_token token = lsm_epoch_enter(&all->epoch);

    (void)pthread_barrier_wait(&all->entered);
    (void)pthread_barrier_wait(&all->may_leave);
    lsm_epoch_leave(token);
    return NULL;
}

LSM_TEST(more_threads_than_stripes_are_all_waited_for) {
    enum { THREADS = LSM_EPOCH_STRIPES + 8 };
    pthread_t threads[THREADS];
    thing object = {0};
    crowd all;

    CHECK(lsm_epoch_init(&all.epoch));
    CHECK_EQ(pthread_barrier_init(&all.entered, NULL, THREADS + 1), 0);
    CHECK_EQ(pthread_barrier_init(&all.may_leave, NULL, THREADS + 1), 0);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, stand_inside, &all), 0);
    }
    (void)pthread_barrier_wait(&all.entered);
    lsm_epoch_retire(&all.epoch, &object.retired, mark_released);
    CHECK_EQ(object.released, 0);
    CHECK(!lsm_epoch_idle(&all.epoch));
    (void)pthread_barrier_wait(&all.may_leave);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    lsm_epoch_poll(&all.epoch);
    CHECK_EQ(object.released, 1);
    CHECK(lsm_epoch_idle(&all.epoch));
    lsm_epoch_deinit(&all.epoch);
    (void)pthread_barrier_destroy(&all.entered);
    (void)pthread_barrier_destroy(&all.may_leave);
}

static void *leave_for_another(void *argument) {
    const lsm_epoch_token *token = argument;

    lsm_epoch_leave(*token);
    return NULL;
}

LSM_TEST(a_token_may_be_given_to_another_thread) {
    thing object = {0};
    lsm_epoch_token token = NULL;
    pthread_t thread;
    lsm_epoch epoch;

    CHECK(lsm_epoch_init(&epoch));
    token = lsm_epoch_enter(&epoch);
    lsm_epoch_retire(&epoch, &object.retired, mark_released);
    CHECK_EQ(pthread_create(&thread, NULL, leave_for_another, &token), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    lsm_epoch_poll(&epoch);
    CHECK_EQ(object.released, 1);
    lsm_epoch_deinit(&epoch);
}

enum { ALIVE = 0x600D, DEAD = 0xDEAD, SLOTS = 4, WRITES = 4000 };

typedef struct shared_object {
    lsm_retired retired;
    _Atomic uint64_t *released; /* borrowed from the world */
    uint64_t state;
    uint64_t value;
} shared_object;

typedef struct shared_world {
    lsm_epoch epoch;
    _Atomic(shared_object *) slots[SLOTS];
    _Atomic uint64_t released;
    _Atomic uint64_t writers;
    _Atomic uint64_t reads;
    _Atomic uint64_t bad_reads;
} shared_world;

static void release_shared(lsm_retired *retired) {
    shared_object *object = LSM_CONTAINER_OF(retired, shared_object, retired);

    atomic_fetch_add_explicit(object->released, 1, memory_order_relaxed);
    object->state = DEAD;
    lsm_free(object);
}

static shared_object *new_object(shared_world *world, uint64_t value) {
    shared_object *object = lsm_alloc(sizeof(*object));

    CHECK(object != NULL);
    *object =
        (shared_object){.released = &world->released, .state = ALIVE, .value = value};
    return object;
}

/* Acquire loads only: the epoch alone must order them after the unpublishing. */
static void *read_slots(void *argument) {
    shared_world *world = argument;
    uint64_t reads = 0;
    uint64_t bad = 0;

    while (atomic_load(&world->writers) != 0 || reads < 1000) {
        lsm_epoch_token token = lsm_epoch_enter(&world->epoch);
        shared_object *object =
            atomic_load_explicit(&world->slots[reads % SLOTS], memory_order_acquire);

        bad += object->state != ALIVE || object->value % SLOTS != reads % SLOTS;
        lsm_epoch_leave(token);
        reads++;
    }
    atomic_fetch_add(&world->reads, reads);
    atomic_fetch_add(&world->bad_reads, bad);
    return NULL;
}

static void *replace_slots(void *argument) {
    shared_world *world = argument;

    for (uint64_t i = 0; i < WRITES; i++) {
        shared_object *object = new_object(world, i);
        shared_object *old = atomic_exchange_explicit(&world->slots[i % SLOTS], object,
                                                      memory_order_acq_rel);

        lsm_epoch_retire(&world->epoch, &old->retired, release_shared);
    }
    atomic_fetch_sub(&world->writers, 1);
    return NULL;
}

LSM_TEST(readers_never_see_a_released_object) {
    enum { READERS = 4, WRITERS = 3 };
    pthread_t threads[READERS + WRITERS];
    shared_world world;

    memset(&world, 0, sizeof(world));
    CHECK(lsm_epoch_init(&world.epoch));
    for (uint64_t i = 0; i < SLOTS; i++) {
        atomic_store(&world.slots[i], new_object(&world, i));
    }
    atomic_store(&world.writers, WRITERS);
    for (int i = 0; i < READERS + WRITERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL,
                                i < READERS ? read_slots : replace_slots, &world),
                 0);
    }
    for (int i = 0; i < READERS + WRITERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    lsm_epoch_poll(&world.epoch);
    CHECK_EQ(atomic_load(&world.bad_reads), 0);
    CHECK_EQ(atomic_load(&world.released), WRITERS * WRITES);
    for (uint64_t i = 0; i < SLOTS; i++) {
        lsm_free(atomic_load(&world.slots[i]));
    }
    lsm_epoch_deinit(&world.epoch);
}
