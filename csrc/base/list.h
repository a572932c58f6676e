/* SPDX-License-Identifier: Apache-2.0
 *
 * Intrusive circular doubly linked list. A head is a node that points to itself when
 * the list is empty.
 */
#ifndef LSM_BASE_LIST_H
#define LSM_BASE_LIST_H

#include <stdbool.h>

typedef struct lsm_list {
    struct lsm_list *prev;
    struct lsm_list *next;
} lsm_list;

static inline void lsm_list_init(lsm_list *head) {
    head->prev = head->next = head;
}

static inline bool lsm_list_empty(const lsm_list *head) {
    return head->next == head;
}

/* Inserts before `at`: at the tail when `at` is the head. */
static inline void lsm_list_insert(lsm_list *at, lsm_list *node) {
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

/* Unlinks; the node becomes an empty list of its own. */
static inline void lsm_list_remove(lsm_list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    lsm_list_init(node);
}

#endif
