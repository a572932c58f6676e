/* SPDX-License-Identifier: Apache-2.0
 *
 * Making the checksums of a changed file right again, in place, so far as the file
 * still shows where they belong. docs/file-format.md says where that is.
 */
#ifndef LSM_TESTS_FUZZ_MEND_H
#define LSM_TESTS_FUZZ_MEND_H

#include <stddef.h>
#include <stdint.h>

#include "format/filename.h"

void fuzz_mend_records(uint8_t *file, size_t size); /* a log, MANIFEST or value file */
void fuzz_mend_table(uint8_t *file, size_t size);
void fuzz_mend_cache(uint8_t *file, size_t size);
void fuzz_mend_hotlist(uint8_t *file, size_t size);
void fuzz_mend_current(uint8_t *file, size_t size);
/* Of a file of that kind. */
void fuzz_mend_file(lsm_file_kind kind, uint8_t *file, size_t size);

#endif
