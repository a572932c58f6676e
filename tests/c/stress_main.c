/* SPDX-License-Identifier: Apache-2.0
 *
 * The stress program by itself.
 */
#include "stress_help.h"

int main(int argument_count, char **arguments) {
    return stress_main(argument_count, arguments);
}
