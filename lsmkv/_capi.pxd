# SPDX-License-Identifier: Apache-2.0
#
# csrc/include/lsmkv*.h, transcribed in the order of lsmkv.h. The headers have the
# documentation; a test compares the names.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "<stdbool.h>":
    ctypedef bint c_bool "bool"  # where a pointer to one is wanted

cdef extern from "include/lsmkv.h" nogil:
    ctypedef enum lsmkv_status:
        LSMKV_OK
        LSMKV_NOT_FOUND
        LSMKV_WOULD_BLOCK
        LSMKV_CORRUPTION
        LSMKV_IO_ERROR
        LSMKV_DISK_FULL
        LSMKV_CLOSED
        LSMKV_LOCKED
        LSMKV_FORKED
        LSMKV_READ_ONLY
        LSMKV_INVALID_ARGUMENT
        LSMKV_LIMIT_EXCEEDED
        LSMKV_UNSUPPORTED_VERSION
        LSMKV_NOT_A_DATABASE
        LSMKV_NO_MEMORY
        LSMKV_CHANGED

    ctypedef struct lsmkv_error:
        lsmkv_status status
        int os_errno
        int64_t offset
        int64_t pid
        char file[64]
        char message[256]

    const char *lsmkv_status_name(lsmkv_status status)
    const char *lsmkv_status_text(lsmkv_status status)
    const char *lsmkv_version()

    ctypedef struct lsmkv_bytes:
        const void *data
        size_t size

    ctypedef struct lsmkv_db:
        pass
    ctypedef struct lsmkv_snapshot:
        pass
    ctypedef struct lsmkv_iter:
        pass
    ctypedef struct lsmkv_batch:
        pass
    ctypedef struct lsmkv_namespace:
        pass
    ctypedef struct lsmkv_publish:
        pass

    enum:
        LSMKV_KEY_SIZE_MAX
        LSMKV_VALUE_SIZE_MAX
        LSMKV_BATCH_SIZE_MAX
        LSMKV_LEVEL_COUNT
        LSMKV_VECTOR_DIM_MAX

    ctypedef enum lsmkv_durability:
        LSMKV_DURABILITY_UNSET
        LSMKV_DURABILITY_OS
        LSMKV_DURABILITY_SYNC
        LSMKV_DURABILITY_INTERVAL

    ctypedef struct lsmkv_options:
        bint create_if_missing
        bint error_if_exists
        bint read_only
        bint follower
        bint untrusted
        uint32_t follow_interval_ms
        uint64_t memory_bytes
        uint64_t memtable_bytes
        int64_t block_cache_bytes
        uint32_t max_open_files
        uint32_t background_threads
        lsmkv_durability durability
        uint32_t sync_interval_ms
        uint32_t block_bytes
        int32_t bloom_bits_per_key
        int32_t codec
        int32_t codec_level
        uint64_t table_bytes
        uint64_t level_base_bytes
        uint32_t level_multiplier
        uint32_t l0_compact_trigger
        int64_t blob_threshold_bytes
        uint64_t log_bytes
        bint mapping
        uint64_t seed
        int64_t warm_bytes
        int32_t stats_interval_ms

    void lsmkv_options_init(lsmkv_options *options)

    lsmkv_status lsmkv_open(const char *path, const lsmkv_options *options,
                            lsmkv_db **dbp, lsmkv_error *err)
    lsmkv_status lsmkv_refresh(lsmkv_db *db, c_bool *changed, lsmkv_error *err)

    ctypedef struct lsmkv_follow_stats:
        uint64_t refresh_count
        uint64_t failure_count
        uint64_t failures_in_row
        uint64_t age_us
        lsmkv_error error

    lsmkv_status lsmkv_get_follow_stats(lsmkv_db *db, lsmkv_follow_stats *stats,
                                        lsmkv_error *err)
    lsmkv_status lsmkv_close(lsmkv_db *db, lsmkv_error *err)
    void lsmkv_free(lsmkv_db *db)
    bint lsmkv_is_closed(const lsmkv_db *db)
    void lsmkv_get_options(const lsmkv_db *db, lsmkv_options *options)

    enum:
        LSMKV_UUID_SIZE

    void lsmkv_get_uuid(const lsmkv_db *db, uint8_t *uuid)

    ctypedef struct lsmkv_read:
        const lsmkv_snapshot *snapshot
        bint nonblocking
        const lsmkv_namespace *space
        bint stale

    ctypedef struct lsmkv_pin:
        lsmkv_bytes value
        void *opaque[2]

    lsmkv_status lsmkv_get(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                           lsmkv_pin *pin, lsmkv_error *err)

    ctypedef struct lsmkv_entry:
        int64_t stale_for_ms
        int64_t left_ms
        uint64_t expire_at_ms

    lsmkv_status lsmkv_get_entry(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                                 lsmkv_entry *entry, lsmkv_pin *pin, lsmkv_error *err)

    ctypedef struct lsmkv_view:
        pass

    lsmkv_status lsmkv_get_view(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                                lsmkv_view **viewp, lsmkv_bytes *value,
                                lsmkv_error *err)
    void lsmkv_view_free(lsmkv_view *view)

    ctypedef struct lsmkv_lookup:
        lsmkv_bytes key
        lsmkv_bytes value
        bint found
        int64_t stale_for_ms

    lsmkv_status lsmkv_get_many(lsmkv_db *db, const lsmkv_read *read,
                                lsmkv_lookup *lookups, size_t count, lsmkv_pin *pin,
                                lsmkv_error *err)
    void lsmkv_pin_release(lsmkv_pin *pin)

    ctypedef struct lsmkv_range:
        lsmkv_bytes start
        lsmkv_bytes stop
        bint has_start
        bint has_stop

    lsmkv_status lsmkv_snapshot_create(lsmkv_db *db, lsmkv_snapshot **snapp,
                                       lsmkv_error *err)
    void lsmkv_snapshot_free(lsmkv_snapshot *snapshot)
    uint64_t lsmkv_snapshot_sequence(const lsmkv_snapshot *snapshot)

    lsmkv_status lsmkv_iter_create(lsmkv_db *db, const lsmkv_read *read,
                                   const lsmkv_range *range, lsmkv_iter **iterp,
                                   lsmkv_error *err)
    void lsmkv_iter_free(lsmkv_iter *iter)
    lsmkv_status lsmkv_iter_seek_first(lsmkv_iter *iter, lsmkv_error *err)
    lsmkv_status lsmkv_iter_seek_last(lsmkv_iter *iter, lsmkv_error *err)
    lsmkv_status lsmkv_iter_seek(lsmkv_iter *iter, lsmkv_bytes key, lsmkv_error *err)
    lsmkv_status lsmkv_iter_seek_for_prev(lsmkv_iter *iter, lsmkv_bytes key,
                                          lsmkv_error *err)
    lsmkv_status lsmkv_iter_next(lsmkv_iter *iter, lsmkv_error *err)
    lsmkv_status lsmkv_iter_prev(lsmkv_iter *iter, lsmkv_error *err)
    bint lsmkv_iter_valid(const lsmkv_iter *iter)
    lsmkv_bytes lsmkv_iter_key(const lsmkv_iter *iter)
    lsmkv_bytes lsmkv_iter_value(const lsmkv_iter *iter)

    ctypedef struct lsmkv_row:
        size_t key_offset
        size_t key_size
        size_t value_offset
        size_t value_size

    ctypedef struct lsmkv_row_times:
        uint64_t expire_at_ms
        uint64_t fresh_until_ms

    ctypedef struct lsmkv_chunk:
        const char *data
        const lsmkv_row *rows
        const lsmkv_row_times *times
        size_t row_count

    ctypedef struct lsmkv_fill:
        bint reverse
        bint keys_only
        bint with_times
        size_t row_max
        size_t byte_max

    lsmkv_status lsmkv_iter_fill(lsmkv_iter *iter, const lsmkv_fill *fill,
                                 lsmkv_chunk *chunk, lsmkv_error *err)

    lsmkv_status lsmkv_approximate_count(lsmkv_db *db, const lsmkv_read *read,
                                         const lsmkv_range *range, uint64_t *count,
                                         lsmkv_error *err)

    ctypedef struct lsmkv_write:
        bint sync
        bint nosync
        bint nonblocking
        int64_t ttl_ms
        const lsmkv_namespace *space
        int64_t stale_ms
        uint64_t expire_at_ms
        uint64_t fresh_until_ms
        const lsmkv_snapshot *since

    lsmkv_status lsmkv_put(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                           lsmkv_bytes value, lsmkv_error *err)
    lsmkv_status lsmkv_delete(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                              lsmkv_error *err)
    lsmkv_status lsmkv_delete_range(lsmkv_db *db, const lsmkv_write *how,
                                    const lsmkv_range *range, lsmkv_error *err)

    lsmkv_status lsmkv_ttl(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                           int64_t *ttl_ms, lsmkv_error *err)
    lsmkv_status lsmkv_touch(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                             lsmkv_error *err)

    lsmkv_status lsmkv_batch_create(lsmkv_batch **batchp, lsmkv_error *err)
    void lsmkv_batch_free(lsmkv_batch *batch)
    lsmkv_status lsmkv_batch_put(lsmkv_batch *batch, const lsmkv_write *how,
                                 lsmkv_bytes key, lsmkv_bytes value, lsmkv_error *err)
    lsmkv_status lsmkv_batch_delete(lsmkv_batch *batch, const lsmkv_write *how,
                                    lsmkv_bytes key, lsmkv_error *err)
    lsmkv_status lsmkv_batch_delete_range(lsmkv_batch *batch, const lsmkv_write *how,
                                          const lsmkv_range *range, lsmkv_error *err)
    void lsmkv_batch_clear(lsmkv_batch *batch)
    size_t lsmkv_batch_count(const lsmkv_batch *batch)
    size_t lsmkv_batch_bytes(const lsmkv_batch *batch)
    lsmkv_status lsmkv_write_batch(lsmkv_db *db, const lsmkv_write *how,
                                   lsmkv_batch *batch, lsmkv_error *err)

    ctypedef struct lsmkv_keys:
        const lsmkv_bytes *bytes
        const uint64_t *ids
        size_t count

    ctypedef struct lsmkv_rows:
        const void *data
        size_t row_bytes
        size_t stride

    lsmkv_status lsmkv_put_rows(lsmkv_db *db, const lsmkv_write *how,
                                const lsmkv_keys *keys, const lsmkv_rows *rows,
                                size_t *put_count, lsmkv_error *err)
    lsmkv_status lsmkv_batch_put_rows(lsmkv_batch *batch, const lsmkv_write *how,
                                      const lsmkv_keys *keys, const lsmkv_rows *rows,
                                      lsmkv_error *err)

    ctypedef struct lsmkv_space_options

    ctypedef struct lsmkv_gather:
        void *out
        size_t row_bytes
        size_t stride
        uint8_t *found
        uint64_t budget_us
        const lsmkv_space_options *vectors

    lsmkv_status lsmkv_get_rows(lsmkv_db *db, const lsmkv_read *read,
                                const lsmkv_keys *keys, const lsmkv_gather *to,
                                size_t *found_count, lsmkv_error *err)

    ctypedef struct lsmkv_space_options:
        int64_t default_ttl_ms
        int64_t default_stale_ms
        int64_t blob_threshold_bytes
        int32_t codec
        int32_t codec_level
        uint32_t vector_dim
        int32_t vector_dtype
        int32_t vector_metric
        int64_t max_bytes
        int32_t cache_policy

    int LSMKV_CACHE_FIFO_REINSERT
    int LSMKV_CACHE_BYTES_MIN

    ctypedef struct lsmkv_namespace_how:
        bint create
        bint alter
        const lsmkv_snapshot *snapshot
        bint has_default_ttl
        bint has_default_stale
        bint has_blob_threshold
        bint has_codec
        bint has_codec_level
        bint has_vector
        bint has_max_bytes
        bint has_cache_policy
        lsmkv_space_options options

    lsmkv_status lsmkv_namespace_open(lsmkv_db *db, lsmkv_bytes name,
                                      const lsmkv_namespace_how *how,
                                      lsmkv_namespace **spacep, lsmkv_error *err)
    void lsmkv_namespace_free(lsmkv_namespace *space)
    uint32_t lsmkv_namespace_id(const lsmkv_namespace *space)
    void lsmkv_namespace_options(const lsmkv_namespace *space,
                                 lsmkv_space_options *options)

    ctypedef struct lsmkv_cache_stats:
        uint64_t file_bytes
        uint64_t segment_count
        uint64_t written_bytes
        uint64_t reinserted_bytes
        uint64_t evicted_segments
        uint64_t pinned_count
        uint64_t pinned_bytes

    lsmkv_status lsmkv_cache_pin(lsmkv_db *db, const lsmkv_namespace *space,
                                 const lsmkv_bytes *keys, size_t count, bint pins,
                                 lsmkv_error *err)
    lsmkv_status lsmkv_get_cache_stats(lsmkv_db *db, const lsmkv_namespace *space,
                                       lsmkv_cache_stats *stats, lsmkv_error *err)

    lsmkv_status lsmkv_namespace_drop(lsmkv_db *db, lsmkv_bytes name,
                                      lsmkv_error *err)

    ctypedef void (*lsmkv_namespace_fn)(
        void *context, lsmkv_bytes name,
        const lsmkv_space_options *options) noexcept nogil

    lsmkv_status lsmkv_namespace_list(lsmkv_db *db, const lsmkv_read *read,
                                      lsmkv_namespace_fn callback, void *context,
                                      lsmkv_error *err)

    ctypedef struct lsmkv_pair:
        lsmkv_bytes key
        lsmkv_bytes value

    ctypedef struct lsmkv_version_info:
        lsmkv_bytes name
        lsmkv_bytes version
        bint current
        uint64_t created_ms
        uint64_t row_count
        uint64_t byte_count

    lsmkv_status lsmkv_publish_begin(lsmkv_db *db, lsmkv_bytes name,
                                     lsmkv_bytes version,
                                     const lsmkv_namespace_how *how,
                                     lsmkv_publish **publishp, lsmkv_error *err)
    lsmkv_status lsmkv_publish_put(lsmkv_publish *publish, const lsmkv_write *how,
                                   const lsmkv_pair *pairs, size_t count,
                                   lsmkv_error *err)
    lsmkv_status lsmkv_publish_put_rows(lsmkv_publish *publish, const lsmkv_write *how,
                                        const lsmkv_keys *keys, const lsmkv_rows *rows,
                                        lsmkv_error *err)
    lsmkv_status lsmkv_publish_commit(lsmkv_publish *publish, lsmkv_error *err)
    lsmkv_status lsmkv_publish_abort(lsmkv_publish *publish, lsmkv_error *err)
    void lsmkv_publish_free(lsmkv_publish *publish)

    lsmkv_status lsmkv_published_open(lsmkv_db *db, lsmkv_bytes name,
                                      lsmkv_bytes version,
                                      const lsmkv_snapshot *snapshot,
                                      lsmkv_namespace **spacep, lsmkv_error *err)

    ctypedef void (*lsmkv_version_fn)(
        void *context, const lsmkv_version_info *info
    ) noexcept

    lsmkv_status lsmkv_versions(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes name,
                                lsmkv_version_fn callback, void *context,
                                lsmkv_error *err)
    lsmkv_status lsmkv_rollback(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                lsmkv_error *err)
    lsmkv_status lsmkv_release(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                               lsmkv_error *err)

    lsmkv_status lsmkv_flush(lsmkv_db *db, lsmkv_error *err)
    lsmkv_status lsmkv_sync(lsmkv_db *db, lsmkv_error *err)
    lsmkv_status lsmkv_compact(lsmkv_db *db, const lsmkv_namespace *space,
                               const lsmkv_range *range,
                               lsmkv_error *err)
    lsmkv_status lsmkv_checkpoint(lsmkv_db *db, const char *path, lsmkv_error *err)
    lsmkv_status lsmkv_resume(lsmkv_db *db, lsmkv_error *err)
    lsmkv_status lsmkv_settle(lsmkv_db *db, lsmkv_error *err)

    ctypedef int (*lsmkv_warm_fn)(void *context, uint64_t done,
                                  uint64_t total) noexcept nogil

    ctypedef struct lsmkv_warm_how:
        const lsmkv_range *range
        const lsmkv_namespace *space
        uint64_t budget_bytes
        lsmkv_warm_fn on_progress
        void *context

    ctypedef struct lsmkv_warm_report:
        uint64_t byte_count
        uint64_t total_bytes
        uint64_t block_count
        uint64_t value_count

    lsmkv_status lsmkv_warm(lsmkv_db *db, const lsmkv_warm_how *how,
                            lsmkv_warm_report *report, lsmkv_error *err)

    ctypedef struct lsmkv_report:
        uint64_t file_count
        uint64_t block_count
        uint64_t record_count
        uint64_t byte_count
        uint64_t problem_count

    ctypedef void (*lsmkv_problem_fn)(void *context,
                                      const lsmkv_error *problem) noexcept nogil

    lsmkv_status lsmkv_verify(lsmkv_db *db, lsmkv_problem_fn on_problem, void *context,
                              lsmkv_report *report, lsmkv_error *err)

    lsmkv_status lsmkv_repair(const char *path, const char *into,
                              lsmkv_problem_fn on_problem, void *context,
                              lsmkv_report *report, lsmkv_error *err)

    lsmkv_status lsmkv_destroy(const char *path, lsmkv_error *err)

    ctypedef enum lsmkv_file_type:
        LSMKV_FILE_UNKNOWN
        LSMKV_FILE_LOG
        LSMKV_FILE_MANIFEST
        LSMKV_FILE_VALUES
        LSMKV_FILE_CACHE
        LSMKV_FILE_TABLE
        LSMKV_FILE_CURRENT
        LSMKV_FILE_HOTLIST

    ctypedef enum lsmkv_part_kind:
        LSMKV_PART_FILE
        LSMKV_PART_BLOCK
        LSMKV_PART_RECORD
        LSMKV_PART_FRAME
        LSMKV_PART_FIELD
        LSMKV_PART_ENTRY
        LSMKV_PART_REST
        LSMKV_PART_DAMAGE

    ctypedef enum lsmkv_fact_form:
        LSMKV_FACT_NUMBER
        LSMKV_FACT_HEX
        LSMKV_FACT_ID
        LSMKV_FACT_BYTES
        LSMKV_FACT_TEXT

    ctypedef struct lsmkv_fact:
        const char *name
        lsmkv_fact_form form
        uint64_t number
        lsmkv_bytes bytes

    ctypedef struct lsmkv_part:
        lsmkv_part_kind kind
        const char *name
        uint64_t offset
        uint64_t size
        const lsmkv_fact *facts
        size_t fact_count

    ctypedef struct lsmkv_inspect_how:
        lsmkv_file_type type
        uint64_t file_id
        c_bool sealed
        c_bool entries

    ctypedef struct lsmkv_inspection:
        pass

    lsmkv_status lsmkv_inspect_open(const char *directory, const char *name,
                                    const lsmkv_inspect_how *how,
                                    lsmkv_inspection **inspectionp, lsmkv_error *err)
    lsmkv_status lsmkv_inspect_next(lsmkv_inspection *inspection, lsmkv_part *part,
                                    lsmkv_error *err)
    void lsmkv_inspect_free(lsmkv_inspection *inspection)

    ctypedef struct lsmkv_level_stats:
        uint64_t table_count
        uint64_t byte_count
        uint64_t entry_count
        uint64_t tombstone_count

    ctypedef struct lsmkv_stats:
        lsmkv_level_stats levels[7]
        uint64_t sequence
        uint64_t memtable_bytes
        uint64_t memtable_count
        uint64_t cache_bytes
        uint64_t cache_capacity
        uint64_t cache_misses
        uint64_t table_bytes
        uint64_t open_tables
        uint64_t log_bytes
        uint64_t user_bytes_written
        uint64_t log_bytes_written
        uint64_t flush_bytes_written
        uint64_t compact_bytes_read
        uint64_t compact_bytes_written
        uint64_t flush_count
        uint64_t compact_count
        uint64_t trivial_move_count
        uint64_t sync_count
        uint64_t write_group_count
        uint64_t write_count
        uint64_t stall_count
        uint64_t stall_us
        uint64_t snapshot_count
        uint64_t expired_count
        uint64_t expired_table_count
        uint64_t clock_jumps
        uint64_t segment_count
        uint64_t segment_bytes
        uint64_t segment_live_bytes
        uint64_t segment_bytes_written
        uint64_t relocated_bytes
        uint64_t recovered_records
        uint64_t recovered_dropped_bytes
        uint64_t warm_bytes
        uint64_t warm_total_bytes
        bint warming
        uint32_t state

    lsmkv_status lsmkv_get_stats(lsmkv_db *db, lsmkv_stats *stats, lsmkv_error *err)

    ctypedef struct lsmkv_space_stats:
        uint64_t hits
        uint64_t misses
        uint64_t expired
        uint64_t read_bytes
        uint64_t stale_hits
        uint64_t computed
        uint64_t coalesced
        uint64_t evictions
        uint64_t evicted_bytes
        uint64_t bytes

    ctypedef enum lsmkv_count_kind:
        LSMKV_COUNT_HITS
        LSMKV_COUNT_MISSES
        LSMKV_COUNT_READ_BYTES
        LSMKV_COUNT_EXPIRED
        LSMKV_COUNT_STALE_HITS
        LSMKV_COUNT_COMPUTED
        LSMKV_COUNT_COALESCED
        LSMKV_COUNT_EVICTIONS
        LSMKV_COUNT_EVICTED_BYTES
        LSMKV_COUNT_KINDS

    void lsmkv_count(lsmkv_db *db, const lsmkv_namespace *space, lsmkv_count_kind kind,
                     uint64_t n)
    lsmkv_status lsmkv_get_space_stats(lsmkv_db *db, const lsmkv_namespace *space,
                                       lsmkv_space_stats *stats, lsmkv_error *err)

    ctypedef void (*lsmkv_space_stats_fn)(void *context, lsmkv_bytes name,
                                          const lsmkv_space_stats *stats) noexcept

    lsmkv_status lsmkv_space_stats_list(lsmkv_db *db, lsmkv_space_stats_fn callback,
                                        void *context, lsmkv_error *err)

    ctypedef enum lsmkv_latency_kind:
        LSMKV_LATENCY_GET
        LSMKV_LATENCY_GET_MANY
        LSMKV_LATENCY_GATHER
        LSMKV_LATENCY_WRITE
        LSMKV_LATENCY_SCAN
        LSMKV_LATENCY_SYNC
        LSMKV_LATENCY_STALL
        LSMKV_LATENCY_FLUSH
        LSMKV_LATENCY_COMPACTION
        LSMKV_LATENCY_KINDS

    enum:
        LSMKV_HISTOGRAM_BUCKETS

    ctypedef struct lsmkv_histogram:
        uint64_t count
        uint64_t sum_ns
        uint64_t max_ns
        uint64_t counts[LSMKV_HISTOGRAM_BUCKETS]

    uint64_t lsmkv_histogram_bound(uint32_t bucket)
    lsmkv_status lsmkv_get_latency(lsmkv_db *db, lsmkv_latency_kind kind,
                                   lsmkv_histogram *histogram, lsmkv_error *err)

    ctypedef struct lsmkv_memory:
        uint64_t budget_bytes
        uint64_t memtable_bytes
        uint64_t block_bytes
        uint64_t filter_bytes
        uint64_t index_bytes
        uint64_t pinned_bytes
        uint64_t row_bytes

    lsmkv_status lsmkv_get_memory(lsmkv_db *db, lsmkv_memory *memory, lsmkv_error *err)

    ctypedef struct lsmkv_segment_share:
        uint64_t number
        uint64_t bytes

    ctypedef struct lsmkv_table_bound:
        uint32_t space_id
        lsmkv_bytes space
        lsmkv_bytes key

    ctypedef struct lsmkv_table_info:
        uint32_t level
        uint64_t number
        uint64_t byte_count
        uint64_t raw_bytes
        uint64_t entry_count
        uint64_t tombstone_count
        uint64_t range_delete_count
        uint64_t sequence_min
        uint64_t sequence_max
        uint64_t expire_all_ms
        uint64_t expire_half_ms
        lsmkv_table_bound first
        lsmkv_table_bound last
        bint last_excluded
        const lsmkv_segment_share *segments
        size_t segment_count

    ctypedef void (*lsmkv_table_fn)(void *context,
                                    const lsmkv_table_info *table) noexcept

    lsmkv_status lsmkv_tables_list(lsmkv_db *db, lsmkv_table_fn callback,
                                   void *context, lsmkv_error *err)

    ctypedef struct lsmkv_codec:
        uint32_t id
        const char *name
        void *(*create)(int level) noexcept nogil
        void (*destroy)(void *context) noexcept nogil
        size_t (*bound)(size_t size) noexcept nogil
        size_t (*compress)(void *context, void *dst, size_t capacity, const void *src,
                           size_t size) noexcept nogil
        size_t (*decompress)(void *context, void *dst, size_t capacity,
                             const void *src, size_t size) noexcept nogil

    enum:
        LSMKV_CODEC_NONE
        LSMKV_CODEC_ZSTD
        LSMKV_CODEC_COUNT

    lsmkv_status lsmkv_register_codec(const lsmkv_codec *codec, lsmkv_error *err)

    ctypedef struct lsmkv_zstd_functions:
        void *create_cctx
        void *free_cctx
        void *create_dctx
        void *free_dctx
        void *set_parameter
        void *compress2
        void *decompress
        void *bound
        void *is_error
        void *version

    lsmkv_status lsmkv_register_zstd(const lsmkv_zstd_functions *functions,
                                     lsmkv_error *err)

    uint64_t lsmkv_xxh3_64(const void *data, size_t size, uint64_t seed)
