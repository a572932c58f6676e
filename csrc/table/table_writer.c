/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a table, from front to back in one pass.
 *
 *   1. An entry goes into the block builder, which checks the order, and its hash into
 *      a list for the filter.
 *   2. A full block is cut when the next key arrives, because the separator between
 *      the two blocks is made from both keys. It is compressed where that helps, sealed
 *      with its frame and moved to the output buffer.
 *   3. Index entries wait as (separator, handle) until the end: index blocks lie behind
 *      the filter, whose size is known only then.
 */
#include "table/table_writer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"
#include "format/bloom.h"
#include "format/codec.h"
#include "format/filename.h"
#include "format/segment_shares.h"
#include "table/expiry.h"

enum {
    OUT_SIZE = 256 << 10,      /* bytes gathered for one append */
    INDEX_ENTRY_ESTIMATE = 24, /* file bytes of an index entry, more or less */
};

struct lsm_table_writer {
    lsm_table_write_options options;
    lsm_dir *dir; /* borrowed */
    char name[LSM_FILENAME_SIZE];
    lsm_file *file; /* owned; NULL once finished */
    bool created;   /* and not finished: to be unlinked */
    uint64_t number;
    uint64_t offset; /* of the next block: everything sealed so far */
    lsm_buf out;     /* sealed, not yet appended; its end is at `offset` */
    lsm_block_builder block;
    lsm_buf packed; /* the compressed form of a block */
    lsm_buf index;  /* (separator slice, handle slice)* of the blocks so far */
    lsm_buf scratch;
    lsm_buf smallest;    /* internal key of the first entry */
    lsm_buf ranges;      /* encoded fragments of range deletes */
    lsm_buf range_start; /* where they begin and end, as bounds of the table */
    lsm_buf range_stop;
    uint64_t *hashes; /* of every stored key, for the filter */
    size_t hash_count;
    size_t hash_capacity;
    lsm_properties properties;
    lsm_expiry expiry;
    lsm_segment_shares segments;
    uint32_t namespace_id; /* of the last key, where codecs may differ */
    uint32_t codec;        /* of the block that is being built */
    int codec_level;
};

lsmkv_status lsm_table_writer_create(lsm_dir *dir, uint64_t number,
                                     const lsm_table_write_options *options,
                                     lsm_table_writer **writerp, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_table_writer *writer = lsm_calloc(1, sizeof(*writer));

    *writerp = NULL;
    if (writer == NULL) {
        return lsm_fail_memory(err, sizeof(*writer));
    }
    writer->options = *options;
    writer->dir = dir;
    writer->number = number;
    writer->expiry.now_ms = options->now_ms;
    writer->codec = options->codec;
    writer->codec_level = options->codec_level;
    writer->properties.sequence_min = UINT64_MAX;
    lsm_filename_make(writer->name, LSM_NAME_TABLE, number);
    lsm_block_builder_init(&writer->block);
    if (!lsm_buf_reserve(&writer->out, OUT_SIZE + OUT_SIZE / 4)) {
        status = lsm_fail_memory(err, OUT_SIZE);
        goto out;
    }
    LSM_TRY(lsm_codec_check(options->codec, err));
    LSM_TRY(lsm_file_open(dir, writer->name, LSM_OPEN_CREATE, &writer->file, err));
    writer->created = true;
    *writerp = writer;
    writer = NULL;
out:
    lsm_table_writer_destroy(writer);
    return status;
}

void lsm_table_writer_destroy(lsm_table_writer *writer) {
    if (writer == NULL) {
        return;
    }
    lsm_file_drop(writer->file);
    if (writer->created) {
        /* What stays behind is found and removed as an unknown number at open. */
        lsmkv_status ignored = lsm_dir_unlink(writer->dir, writer->name, NULL);
        (void)ignored;
    }
    lsm_block_builder_deinit(&writer->block);
    lsm_buf_deinit(&writer->out);
    lsm_buf_deinit(&writer->packed);
    lsm_buf_deinit(&writer->index);
    lsm_buf_deinit(&writer->scratch);
    lsm_buf_deinit(&writer->smallest);
    lsm_buf_deinit(&writer->ranges);
    lsm_buf_deinit(&writer->range_start);
    lsm_buf_deinit(&writer->range_stop);
    lsm_free(writer->hashes);
    lsm_segment_shares_deinit(&writer->segments);
    lsm_free(writer);
}

static lsmkv_status write_out(lsm_table_writer *writer, lsmkv_error *err) {
    lsm_slice piece = lsm_buf_slice(&writer->out);
    lsmkv_status status = LSMKV_OK;

    if (piece.size != 0) {
        status = lsm_file_append(writer->file, &piece, 1, NULL, err);
        lsm_buf_clear(&writer->out);
    }
    return status;
}

/* Seals `payload`, in which room for the frame can be made, and sends it off. Large
 * blocks are appended from where they are. */
static lsmkv_status put_block(lsm_table_writer *writer, lsm_buf *payload,
                              lsm_block_frame frame, lsm_block_handle *handle,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    *handle = (lsm_block_handle){writer->offset, payload->size};
    if (!lsm_buf_append_zeros(payload, LSM_BLOCK_FRAME_SIZE)) {
        return lsm_fail_memory(err, payload->size);
    }
    lsm_block_frame_seal(payload->data, (size_t)handle->size, frame,
                         writer->options.file_id, writer->offset);
    writer->offset += payload->size;
    if (payload->size >= OUT_SIZE) {
        lsm_slice piece = lsm_buf_slice(payload);

        LSM_TRY(write_out(writer, err));
        LSM_TRY(lsm_file_append(writer->file, &piece, 1, NULL, err));
        return LSMKV_OK;
    }
    if (!lsm_buf_append(&writer->out, payload->data, payload->size)) {
        return lsm_fail_memory(err, payload->size);
    }
    if (writer->out.size >= OUT_SIZE) {
        LSM_TRY(write_out(writer, err));
    }
out:
    return status;
}

/* Writes the block that is being built. Its separator is `separator`. */
static lsmkv_status cut_block(lsm_table_writer *writer, lsm_slice separator,
                              lsmkv_error *err) {
    lsm_buf *payload = &writer->block.data;
    lsm_block_frame frame = {(uint32_t)payload->size, 0, LSM_BLOCK_DATA};
    uint8_t encoded[LSM_BLOCK_HANDLE_SIZE_MAX];
    lsm_block_handle handle;
    lsmkv_status status = LSMKV_OK;

    if (writer->codec != 0) {
        bool smaller = false;

        LSM_TRY(lsm_codec_compress(writer->codec, writer->codec_level,
                                   lsm_buf_slice(payload), &writer->packed, &smaller,
                                   err));
        if (smaller) {
            payload = &writer->packed;
            frame.codec = (uint8_t)writer->codec;
        }
    }
    LSM_TRY(put_block(writer, payload, frame, &handle, err));
    size_t size = lsm_block_handle_encode(handle, encoded);
    if (!lsm_buf_append_slice(&writer->index, separator) ||
        !lsm_buf_append_slice(&writer->index, lsm_slice_make(encoded, size))) {
        return lsm_fail_memory(err, separator.size);
    }
    writer->properties.data_block_count++;
    lsm_block_builder_clear(&writer->block);
out:
    return status;
}

/* Cuts the full block in front of the key `next`. */
static lsmkv_status cut_before(lsm_table_writer *writer, lsm_slice next,
                               lsmkv_error *err) {
    lsm_buf *separator = &writer->scratch;

    lsm_buf_clear(separator);
    if (!lsm_buf_append(separator, writer->block.last_key.data,
                        writer->block.last_key.size)) {
        return lsm_fail_memory(err, next.size);
    }
    lsm_ikey_shorten(separator, next);
    return cut_block(writer, lsm_buf_slice(separator), err);
}

/* Goes over to the codec of the namespace of the next key. */
static lsmkv_status follow_codec(lsm_table_writer *writer, lsm_slice next,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint32_t id = lsm_get_u32_be(next.data);
    int level = 0;

    if (id == writer->namespace_id && writer->properties.entry_count != 0) {
        return LSMKV_OK;
    }
    writer->namespace_id = id;
    uint32_t codec =
        writer->options.codec_of(writer->options.codec_context, id, &level);
    if (codec != writer->codec || level != writer->codec_level) {
        if (writer->block.data.size != 0) {
            LSM_TRY(cut_before(writer, next, err));
        }
        writer->codec = codec;
        writer->codec_level = level;
    }
out:
    return status;
}

static lsmkv_status note_key(lsm_table_writer *writer, lsm_slice skey,
                             lsmkv_error *err) {
    size_t count = writer->hash_count + 1;

    if (writer->options.bloom_bits_per_key == 0) {
        return LSMKV_OK;
    }
    if (!lsm_grow((void **)&writer->hashes, &writer->hash_capacity, count,
                  sizeof(*writer->hashes))) {
        return lsm_fail_memory(err, count * sizeof(*writer->hashes));
    }
    writer->hashes[writer->hash_count++] = lsm_xxh3(skey.data, skey.size);
    return LSMKV_OK;
}

static void note_sequence(lsm_properties *properties, uint64_t sequence) {
    if (sequence < properties->sequence_min) {
        properties->sequence_min = sequence;
    }
    if (sequence > properties->sequence_max) {
        properties->sequence_max = sequence;
    }
}

/* When every entry is dead; 0: not all will be. Range deletes never are. */
static uint64_t find_expire_all(const lsm_table_writer *writer) {
    const lsm_properties *properties = &writer->properties;
    return writer->expiry.count == properties->entry_count &&
                   properties->range_delete_count == 0
               ? properties->expire_max
               : 0;
}

static void note_record(lsm_table_writer *writer, lsm_slice ikey, lsm_slice field) {
    lsm_properties *properties = &writer->properties;
    uint64_t trailer = lsm_ikey_trailer(ikey);
    uint8_t tag = lsm_trailer_tag(trailer);

    properties->entry_count++;
    properties->tombstone_count += lsm_tag_kind(tag) == LSM_KIND_DELETE;
    properties->key_bytes += ikey.size;
    properties->value_bytes += field.size;
    note_sequence(properties, lsm_trailer_sequence(trailer));
    if ((tag & LSM_TAG_EXPIRES) != 0) {
        lsm_expiry_add(&writer->expiry, lsm_get_u64(field.data),
                       ikey.size + field.size);
        properties->expire_min = writer->expiry.earliest;
        properties->expire_max = writer->expiry.latest;
    }
}

static lsmkv_status note_pointer(lsm_table_writer *writer, uint8_t tag, lsm_slice field,
                                 lsmkv_error *err) {
    lsm_pointer pointer = lsm_pointer_of_field(tag, field);

    return lsm_segment_shares_add(&writer->segments, pointer.segment,
                                  lsm_pointer_room(&pointer))
               ? LSMKV_OK
               : lsm_fail_memory(err, sizeof(lsm_segment_share));
}

lsmkv_status lsm_table_writer_add(lsm_table_writer *writer, lsm_slice ikey,
                                  lsm_slice field, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    LSM_ASSERT(writer->created);
    if (!lsm_ikey_check(ikey) ||
        !lsm_record_check(lsm_trailer_tag(lsm_ikey_trailer(ikey)), field)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, writer->name, -1,
                           "entry %llu is no record: key of %zu bytes, value of %zu",
                           (unsigned long long)writer->properties.entry_count,
                           ikey.size, field.size);
    }
    if (lsm_block_builder_full(&writer->block, writer->options.block_bytes)) {
        LSM_TRY(cut_before(writer, ikey, err));
    }
    if (LSM_UNLIKELY(writer->options.codec_of != NULL)) {
        LSM_TRY(follow_codec(writer, ikey, err));
    }
    status = lsm_block_builder_add(&writer->block, ikey, field);
    if (status == LSMKV_CORRUPTION) {
        return lsm_fail_at(err, status, writer->name, -1,
                           "entry %llu is out of order; memory or a source table is "
                           "damaged",
                           (unsigned long long)writer->properties.entry_count);
    }
    if (status != LSMKV_OK) {
        return lsm_fail_memory(err, ikey.size + field.size);
    }
    if (writer->properties.entry_count == 0 &&
        !lsm_buf_append(&writer->smallest, ikey.data, ikey.size)) {
        return lsm_fail_memory(err, ikey.size);
    }
    note_record(writer, ikey, field);
    uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(ikey));
    if (LSM_UNLIKELY(lsm_tag_kind(tag) == LSM_KIND_POINTER)) {
        LSM_TRY(note_pointer(writer, tag, field, err));
    }
    if (writer->block.key_is_new) {
        LSM_TRY(note_key(writer, lsm_ikey_skey(ikey), err));
    }
out:
    return status;
}

/* Makes `to` the internal key of a bound. */
static bool set_bound(lsm_buf *to, lsm_slice skey, uint64_t trailer) {
    uint8_t bytes[LSM_TRAILER_SIZE];

    lsm_put_u64(bytes, trailer);
    lsm_buf_clear(to);
    return lsm_buf_append(to, skey.data, skey.size) &&
           lsm_buf_append(to, bytes, sizeof(bytes));
}

lsmkv_status lsm_table_writer_add_range(lsm_table_writer *writer,
                                        const lsm_range_span *range, lsmkv_error *err) {
    lsm_properties *properties = &writer->properties;
    bool is_first = properties->range_delete_count == 0;

    LSM_ASSERT(writer->created && range->count > 0);
    if (!lsm_range_check(range->start, range->stop) ||
        (!is_first &&
         lsm_slice_compare(lsm_ikey_skey(lsm_buf_slice(&writer->range_stop)),
                           range->start) > 0)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, writer->name, -1,
                           "range delete %llu is malformed or out of order",
                           (unsigned long long)properties->range_delete_count);
    }
    if ((is_first &&
         !set_bound(&writer->range_start, range->start,
                    lsm_trailer_make(range->sequences[0], LSM_KIND_RANGE_DELETE))) ||
        !set_bound(&writer->range_stop, range->stop, LSM_TRAILER_EXCLUSIVE) ||
        !lsm_range_encode(&writer->ranges, range)) {
        return lsm_fail_memory(err, range->start.size + range->stop.size);
    }
    note_sequence(properties, range->sequences[0]);
    note_sequence(properties, range->sequences[range->count - 1]);
    properties->range_delete_count++;
    return LSMKV_OK;
}

uint64_t lsm_table_writer_size(const lsm_table_writer *writer) {
    return writer->offset + writer->block.data.size +
           writer->hash_count * writer->options.bloom_bits_per_key / 8 +
           (writer->properties.data_block_count + 1) * INDEX_ENTRY_ESTIMATE +
           writer->ranges.size + LSM_FOOTER_SIZE;
}

uint64_t lsm_table_writer_entry_count(const lsm_table_writer *writer) {
    return writer->properties.entry_count;
}

/* Writes a block of the tail. */
static lsmkv_status put_tail_block(lsm_table_writer *writer, lsm_block_type type,
                                   lsm_buf *payload, lsm_block_handle *handle,
                                   lsmkv_error *err) {
    lsm_block_frame frame = {(uint32_t)payload->size, 0, type};

    if (payload->size > LSM_BLOCK_RAW_SIZE_MAX) {
        return lsm_fail_at(err, LSMKV_LIMIT_EXCEEDED, writer->name, -1,
                           "a block of %zu bytes", payload->size);
    }
    return put_block(writer, payload, frame, handle, err);
}

/* Writes the block in `builder` as an index block and adds its entry, under the last
 * separator in it, to the entries of the level above. */
static lsmkv_status put_index_block(lsm_table_writer *writer, lsm_block_type type,
                                    lsm_block_builder *builder, lsm_buf *above,
                                    lsm_block_handle *handle, lsmkv_error *err) {
    uint8_t encoded[LSM_BLOCK_HANDLE_SIZE_MAX];
    lsm_block_frame frame = {(uint32_t)builder->data.size, 0, type};
    lsmkv_status status = LSMKV_OK;
    size_t size = 0;

    LSM_TRY(put_block(writer, &builder->data, frame, handle, err));
    writer->properties.index_block_count += type == LSM_BLOCK_INDEX;
    size = lsm_block_handle_encode(*handle, encoded);
    if (!lsm_buf_append_slice(above, lsm_buf_slice(&builder->last_key)) ||
        !lsm_buf_append_slice(above, lsm_slice_make(encoded, size))) {
        return lsm_fail_memory(err, builder->last_key.size);
    }
    lsm_block_builder_clear(builder);
out:
    return status;
}

/* Writes (separator, handle)* as index blocks, or as one top index, and collects the
 * entries of the level above. *handle is that of the last block. */
static lsmkv_status put_index_level(lsm_table_writer *writer, lsm_block_type type,
                                    lsm_slice entries, lsm_buf *above,
                                    lsm_block_handle *handle, lsmkv_error *err) {
    size_t target =
        type == LSM_BLOCK_INDEX ? writer->options.index_block_bytes : SIZE_MAX;
    lsm_reader reader = lsm_reader_make(entries);
    lsm_block_builder builder;
    lsmkv_status status = LSMKV_OK;
    lsm_slice separator;
    lsm_slice value;

    lsm_block_builder_init(&builder);
    while (lsm_reader_left(&reader) != 0) {
        lsm_read_slice(&reader, &separator);
        lsm_read_slice(&reader, &value);
        LSM_ASSERT(!reader.failed);
        if (builder.data.size >= target) {
            LSM_TRY(put_index_block(writer, type, &builder, above, handle, err));
        }
        status = lsm_block_builder_add(&builder, separator, value);
        if (status != LSMKV_OK) {
            status = lsm_fail_at(err, status, writer->name, -1,
                                 "separators of blocks are out of order");
            goto out;
        }
    }
    LSM_TRY(put_index_block(writer, type, &builder, above, handle, err));
out:
    lsm_block_builder_deinit(&builder);
    return status;
}

static lsmkv_status put_filter(lsm_table_writer *writer, lsm_block_handle *handle,
                               lsmkv_error *err) {
    *handle = (lsm_block_handle){0, 0};
    if (writer->hash_count == 0) {
        return LSMKV_OK;
    }
    lsm_buf_clear(&writer->scratch);
    if (!lsm_bloom_build(writer->hashes, writer->hash_count,
                         writer->options.bloom_bits_per_key, &writer->scratch)) {
        return lsm_fail_memory(err, writer->hash_count);
    }
    return put_tail_block(writer, LSM_BLOCK_FILTER, &writer->scratch, handle, err);
}

static lsmkv_status put_ranges(lsm_table_writer *writer, lsm_block_handle *handle,
                               lsmkv_error *err) {
    if (writer->ranges.size == 0) {
        return LSMKV_OK;
    }
    return put_tail_block(writer, LSM_BLOCK_RANGE_DELETES, &writer->ranges, handle,
                          err);
}

static lsmkv_status put_index(lsm_table_writer *writer, lsm_block_handle *handle,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t begin = writer->offset;
    lsm_buf top = {0};
    lsm_buf none = {0};

    if (writer->properties.data_block_count == 0) {
        return LSMKV_OK;
    }
    LSM_TRY(put_index_level(writer, LSM_BLOCK_INDEX, lsm_buf_slice(&writer->index),
                            &top, handle, err));
    if (handle->offset != begin) {
        LSM_TRY(put_index_level(writer, LSM_BLOCK_TOP_INDEX, lsm_buf_slice(&top), &none,
                                handle, err));
    }
out:
    lsm_buf_deinit(&top);
    lsm_buf_deinit(&none);
    return status;
}

/* Everything behind the data blocks. */
static lsmkv_status put_tail(lsm_table_writer *writer, lsmkv_error *err) {
    lsm_footer footer = {.number = writer->number,
                         .file_id = writer->options.file_id,
                         .tail_offset = writer->offset};
    uint8_t encoded[LSM_FOOTER_SIZE];
    lsmkv_status status = LSMKV_OK;

    memcpy(footer.uuid, writer->options.uuid, LSM_UUID_SIZE);
    LSM_TRY(put_filter(writer, &footer.filter, err));
    LSM_TRY(put_ranges(writer, &footer.range_deletes, err));
    LSM_TRY(put_index(writer, &footer.index, err));
    lsm_buf_clear(&writer->scratch);
    if (!lsm_properties_encode(&writer->properties, &writer->scratch)) {
        return lsm_fail_memory(err, sizeof(writer->properties));
    }
    LSM_TRY(put_tail_block(writer, LSM_BLOCK_PROPERTIES, &writer->scratch,
                           &footer.properties, err));
    lsm_footer_encode(&footer, encoded);
    if (!lsm_buf_append(&writer->out, encoded, sizeof(encoded))) {
        return lsm_fail_memory(err, sizeof(encoded));
    }
    writer->offset += sizeof(encoded);
    LSM_TRY(write_out(writer, err));
out:
    return status;
}

/* The bounds of entries and range deletes together. */
static void find_bounds(const lsm_table_writer *writer, lsm_table_info *info) {
    info->smallest = lsm_buf_slice(&writer->smallest);
    info->largest = lsm_buf_slice(&writer->block.last_key);
    if (info->range_delete_count == 0) {
        return;
    }
    lsm_slice start = lsm_buf_slice(&writer->range_start);
    lsm_slice stop = lsm_buf_slice(&writer->range_stop);
    if (info->entry_count == 0 || lsm_ikey_compare(start, info->smallest) < 0) {
        info->smallest = start;
    }
    if (info->entry_count == 0 || lsm_ikey_compare(stop, info->largest) > 0) {
        info->largest = stop;
    }
}

lsmkv_status lsm_table_writer_finish(lsm_table_writer *writer, lsm_table_info *info,
                                     lsmkv_error *err) {
    const lsm_properties *properties = &writer->properties;
    lsmkv_status status = LSMKV_OK;
    lsm_file *file = NULL;
    uint64_t tail_offset = 0;

    LSM_ASSERT(writer->created);
    LSM_ASSERT(properties->entry_count != 0 || properties->range_delete_count != 0);
    if (properties->entry_count != 0) {
        LSM_TRY(cut_block(writer, lsm_buf_slice(&writer->block.last_key), err));
    }
    tail_offset = writer->offset;
    LSM_TRY(put_tail(writer, err));
    if (!LSM_MUTANT(TABLE_NOT_SYNCED)) {
        status = lsm_file_sync(writer->file, err);
        LSM_TRY(LSM_MUTANT(SYNC_ERROR_IGNORED) ? LSMKV_OK : status);
    }
    file = writer->file;
    writer->file = NULL;
    LSM_TRY(lsm_file_close(file, err));
    writer->created = false;
    *info = (lsm_table_info){
        .number = writer->number,
        .file_id = writer->options.file_id,
        .file_size = writer->offset,
        .tail_size = writer->offset - tail_offset,
        .sequence_min = properties->sequence_min,
        .sequence_max = properties->sequence_max,
        .entry_count = properties->entry_count,
        .tombstone_count = properties->tombstone_count,
        .raw_bytes = properties->key_bytes + properties->value_bytes,
        .range_delete_count = properties->range_delete_count,
        .expire_all_at = find_expire_all(writer),
        .expire_half_at = lsm_expiry_half_at(
            &writer->expiry, properties->key_bytes + properties->value_bytes),
        .segments = writer->segments.shares,
        .segment_count = writer->segments.count,
    };
    find_bounds(writer, info);
out:
    return status;
}
