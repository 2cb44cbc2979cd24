/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef TESTPMD_ARGS_H
#define TESTPMD_ARGS_H

/*
 * Command line: EAL's part in front of "--", ours behind it. Ours is read before EAL starts, so
 * that help and complaints appear alone and need neither memory nor rights.
 */

/*
 * Fill settings from argv.
 * @param eal_argc receives how many of argv are EAL's (argv[0] included).
 * @return -1 to go on, otherwise the exit status of the program; everything was said.
 */
int args_parse(int argc, char **argv, int *eal_argc);

#endif /* TESTPMD_ARGS_H */
