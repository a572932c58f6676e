/* SPDX-License-Identifier: Apache-2.0
 *
 * The crash program by itself.
 */
#include "commands.h"

int main(int argument_count, char **argument_values) {
    return crash_main(argument_count, argument_values);
}
