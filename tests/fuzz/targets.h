/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions behind the table of targets.
 */
#ifndef LSM_TESTS_FUZZ_TARGETS_H
#define LSM_TESTS_FUZZ_TARGETS_H

#include "fuzz.h"

/* target_keys.c */
void fuzz_coding(lsm_slice input);
void fuzz_keys(lsm_slice input);
void fuzz_names(lsm_slice input);
/* target_records.c */
void fuzz_record(lsm_slice input);
void fuzz_log(lsm_slice input);
void fuzz_batch(lsm_slice input);
/* target_manifest.c */
void fuzz_edit(lsm_slice input);
void fuzz_manifest(lsm_slice input);
/* target_blocks.c */
void fuzz_block(lsm_slice input);
void fuzz_index(lsm_slice input);
void fuzz_frame(lsm_slice input);
void fuzz_ranges(lsm_slice input);
/* target_parts.c */
void fuzz_bloom(lsm_slice input);
void fuzz_codec(lsm_slice input);
void fuzz_footer(lsm_slice input);
void fuzz_footer_mend(uint8_t *data, size_t size);
void fuzz_properties(lsm_slice input);
void fuzz_hotlist(lsm_slice input);
/* target_catalog.c */
void fuzz_space(lsm_slice input);
void fuzz_publish(lsm_slice input);
void fuzz_options(lsm_slice input);
/* target_table.c; inputs are the size of an edit (varint), the edit, the file */
void fuzz_table(lsm_slice input);
void fuzz_table_mend(uint8_t *data, size_t size);
/* target_segments.c */
void fuzz_values(lsm_slice input);
void fuzz_values_mend(uint8_t *data, size_t size);
void fuzz_cache(lsm_slice input);
/* target_inspect.c; inputs are a kind of file (format/filename.h), flags, the file */
void fuzz_inspect(lsm_slice input);
void fuzz_inspect_mend(uint8_t *data, size_t size);
/* target_directory.c */
void fuzz_directory(lsm_slice input);

/* A codec of our own, as number 1, so that nothing has to be installed. */
void fuzz_codec_register(void);

#endif
