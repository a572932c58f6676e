/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of the process when an invariant does not hold. Nothing is flushed or
 * closed: after a broken invariant no further byte may reach the files.
 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void lsm_assert_fail(const char *expression, const char *file, int line) {
    char text[512];

    if (snprintf(text, sizeof(text), "lsmkv: %s:%d: assertion failed: %s\n", file, line,
                 expression) > 0) {
        (void)fputs(text, stderr);
        (void)fflush(stderr);
    }
    abort();
}
