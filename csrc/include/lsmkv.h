/* SPDX-License-Identifier: Apache-2.0
 *
 * lsmkv: an embedded, persistent, ordered key-value engine.
 *
 * Users include this header, which includes the rest of the interface, in the order
 * in which it is best read. The conventions:
 *
 *  1. Handles are opaque. `lsmkv_close` ends the use of a database and leaves the
 *     handle valid: every later call answers LSMKV_CLOSED. `lsmkv_free` releases the
 *     memory and may only be called when no other call on that handle can be running.
 *     Iterators and snapshots keep what they need alive, so the order in which handles
 *     are freed does not matter.
 *  2. Every call that can fail returns a `lsmkv_status`; LSMKV_OK is 0. NOT_FOUND and
 *     WOULD_BLOCK are answers, not errors. Details go into the caller's `lsmkv_error`,
 *     which is always the last parameter and may be NULL.
 *  3. Out-parameters are set to NULL on entry and stay NULL on failure.
 *  4. `lsmkv_bytes` is always borrowed: the callee copies what it keeps. A NULL `data`
 *     with a size of 0 is an empty string.
 *  5. All calls on one database may be made from any number of threads at once. One
 *     iterator or one batch belongs to one thread at a time.
 *  6. After fork() the child's copy of a database answers LSMKV_FORKED.
 *  7. Sizes are bytes, keys are ordered as unsigned bytes.
 */
#ifndef LSMKV_H
#define LSMKV_H

#include "lsmkv_base.h"
#include "lsmkv_open.h"
#include "lsmkv_read.h"
#include "lsmkv_write.h"
#include "lsmkv_space.h"
#include "lsmkv_rows.h"
#include "lsmkv_publish.h"
#include "lsmkv_maintain.h"
#include "lsmkv_inspect.h"
#include "lsmkv_stats.h"
#include "lsmkv_codec.h"

#endif
