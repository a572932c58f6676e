/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands of the crash program, for its main and for the extension that ships
 * them.
 */
#ifndef LSM_TESTS_CRASH_COMMANDS_H
#define LSM_TESTS_CRASH_COMMANDS_H

/* Runs one command; the exit status. A check that fails ends the process. */
int crash_main(int argument_count, char **argument_values);

#endif
