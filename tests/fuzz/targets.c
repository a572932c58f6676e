/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of targets.
 */
#include "targets.h"

#include <string.h>

#include "archive.h"
#include "mend.h"

enum { KIB = 1024 };

const fuzz_target fuzz_targets[] = {
    {"coding", fuzz_coding, NULL, 256, false},
    {"keys", fuzz_keys, NULL, 512, false},
    {"names", fuzz_names, NULL, 128, false},
    {"record", fuzz_record, fuzz_mend_records, 4 * KIB, false},
    {"log", fuzz_log, fuzz_mend_records, 32 * KIB, false},
    {"batch", fuzz_batch, NULL, 8 * KIB, false},
    {"edit", fuzz_edit, NULL, 4 * KIB, false},
    {"manifest", fuzz_manifest, fuzz_archive_mend, 16 * KIB, true},
    {"block", fuzz_block, NULL, 8 * KIB, false},
    {"index", fuzz_index, NULL, 4 * KIB, false},
    {"frame", fuzz_frame, NULL, 4 * KIB, false},
    {"ranges", fuzz_ranges, NULL, 4 * KIB, false},
    {"bloom", fuzz_bloom, NULL, 4 * KIB, false},
    {"codec", fuzz_codec, NULL, 4 * KIB, false},
    {"footer", fuzz_footer, fuzz_footer_mend, 256, false},
    {"properties", fuzz_properties, NULL, 512, false},
    {"hotlist", fuzz_hotlist, fuzz_mend_hotlist, 4 * KIB, false},
    {"space", fuzz_space, NULL, 512, false},
    {"publish", fuzz_publish, NULL, KIB, false},
    {"options", fuzz_options, NULL, 512, false},
    {"table", fuzz_table, fuzz_table_mend, 16 * KIB, false},
    {"values", fuzz_values, fuzz_values_mend, 16 * KIB, false},
    {"cache", fuzz_cache, fuzz_mend_cache, 16 * KIB, false},
    {"inspect", fuzz_inspect, fuzz_inspect_mend, 16 * KIB, false},
    {"directory", fuzz_directory, fuzz_archive_mend, FUZZ_SIZE_MAX, true},
};

const size_t fuzz_target_count = LSM_ARRAY_COUNT(fuzz_targets);

const fuzz_target *fuzz_target_find(const char *name) {
    for (size_t i = 0; i < fuzz_target_count; i++) {
        if (strcmp(fuzz_targets[i].name, name) == 0) {
            return &fuzz_targets[i];
        }
    }
    return NULL;
}
