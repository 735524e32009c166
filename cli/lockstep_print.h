/* The report of a lock-step run, for people. Invariant: prints, and computes nothing but which instructions wrote what differs. */
#ifndef CLI_LOCKSTEP_PRINT_H
#define CLI_LOCKSTEP_PRINT_H
#include "../machine/lockstep.h"
#include <stdio.h>

void lockstep_print(FILE *out, const struct lockstep_report *r, const struct engine *const engine[]);
#endif
