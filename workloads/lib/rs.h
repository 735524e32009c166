/*
 * What a guest program may use: one interface, two implementations. lib/ringside.c (with libc.c and start_*.S) on our kernel,
 * lib/linux.c on Linux; common.c on both. Beside this: <string.h> mem*, strlen, strcmp; <stdlib.h> malloc, free.
 *
 * Invariant: a program that uses nothing else prints the same checksum lines on both, whatever the time, addresses and ids.
 */
#ifndef RS_H
#define RS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ringside_mark.h"
#include "ringside_nanobench.h"

_Noreturn void rs_exit(int code);
long rs_write(int fd, const void *bytes, size_t count);
long rs_read(int fd, void *bytes, size_t count);
int rs_open(const char *name); /* a file of the archive; on Linux: of the program's directory */
int rs_close(int fd);
int rs_fork(void);
int rs_exec(const char *name, char *const argv[]); /* returns only on failure */
int rs_wait(int *status); /* exit code, or RS_KILLED */
#define RS_KILLED 0x100
int rs_pipe(int fd[2]);
void rs_yield(void);
void *rs_map(size_t bytes); /* zero pages, readable and writable; NULL: failure */
int rs_unmap(void *at, size_t bytes);
int rs_protect(void *at, size_t bytes, bool writable);
int rs_null_call(void); /* the cheapest system call there is; returns 0 */
int rs_nanobench(unsigned which, unsigned n); /* 0, or RS_NANOBENCH_NOT_APPLICABLE */
int rs_sleep(unsigned ticks); /* of 10 ms; failure when the kernel runs without timer */

/* common.c */
long rs_parameter(int argc, char **argv, const char *name, long otherwise); /* the value of an argument NAME=VALUE */
const char *rs_parameter_text(int argc, char **argv, const char *name, const char *otherwise);
uint32_t rs_mix(uint32_t sum, uint32_t value); /* order-dependent checksum step; start with 0 */
uint32_t rs_mix_bytes(uint32_t sum, const void *bytes, size_t count);
uint32_t rs_random(uint32_t *state); /* xorshift32 (Marsaglia 2003); *state is never 0 */
void rs_print(const char *text);
void rs_report(const char *name, uint32_t sum); /* "NAME: checksum XXXXXXXX" */
_Noreturn void rs_fail(const char *name, const char *why); /* "NAME: failed: WHY", exit code 1 */

#endif
