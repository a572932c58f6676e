/* SPDX-License-Identifier: Apache-2.0
 *
 * What a directory that is not trusted (lsmkv_options.untrusted) may ask of the engine.
 * Memory is limited as a whole, by a budget (base/budget.h); the numbers here bound
 * what memory does not: the time that opening and reading take. Databases that the
 * engine writes under its defaults stay far below all of them. What goes beyond is
 * LIMIT_EXCEEDED with the limit, the number found and LSM_LIMIT_ADVICE.
 */
#ifndef LSM_BASE_LIMITS_H
#define LSM_BASE_LIMITS_H

#define LSM_LIMIT_ADVICE "if you trust the database, open it with trusted=True"

enum {
    /* Bytes of a data block, as stored and decoded, and how many times larger it may
     * get: an answer of a few bytes costs one block. The default is 4 KiB, and zstd
     * makes of real rows a tenth rather than a hundredth. */
    LSM_UNTRUSTED_BLOCK_MAX = 1 << 20,
    LSM_UNTRUSTED_RATIO_MAX = 256,
    /* Tables, value files and cache segments that are live: each is opened once while
     * the database is. That many tables hold 2 TiB. */
    LSM_UNTRUSTED_FILES_MAX = 1 << 16,
    /* Edits of the MANIFEST, and all that they add and delete: the engine begins a new
     * one at some thousand. */
    LSM_UNTRUSTED_EDITS_MAX = 1 << 20,
    /* Range deletes of all tables: an iterator sorts them when it is made. */
    LSM_UNTRUSTED_RANGES_MAX = 1 << 18,
    /* Namespaces and published versions: they are listed when the database is opened.
     * Ten thousand are fine, as their documentation says. */
    LSM_UNTRUSTED_SPACES_MAX = 1 << 16,
    /* Bytes of a log that is live, or of the MANIFEST: what is no record is searched to
     * its end for marks, and a file may have any size without taking space. */
    LSM_UNTRUSTED_RECORDS_MAX = 1 << 26,
    /* Logs that may be live; the engine has 16 at most. */
    LSM_UNTRUSTED_LOGS_MAX = 64,
    /* A large value may take this part of the budget: with it what is made of it where
     * it goes to, which no budget counts. */
    LSM_UNTRUSTED_VALUE_PART = 8,
    /* Likewise the block cache and the open tables together. */
    LSM_UNTRUSTED_CACHE_PART = 2,
};

#endif
