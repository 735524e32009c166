/*
 * The functions that the rows of sse.def name, for the files that define them.
 *
 * Invariant: included by isa/sse*.c only; everybody else reaches a function through its row.
 */
#ifndef ISA_SSE_ROWS_H
#define ISA_SSE_ROWS_H
#include "sse.h"

#define SSE(mnemonic, function, dst, src, bytes, flags, operand_size) sse_fn sse_##function;
#include "sse.def"
#undef SSE
#endif
