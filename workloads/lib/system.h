/* Between the files of the library for our kernel; not for programs. Invariant: rs_call is the only way into the kernel. */
#ifndef SYSTEM_H
#define SYSTEM_H
#include "rs.h"

long rs_call(long number, long a, long b, long c, long d, long e);
void rs_thread_start(void);
_Noreturn void rs_start(int argc, char **argv);

#endif
