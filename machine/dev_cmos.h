/*
 * The MC146818 clock and CMOS memory at ports 0x70 and 0x71. The clock stands still at a fixed date, so that no run depends on when it is made.
 *
 * Invariant: reading gives the same in every run of the same configuration.
 */
#ifndef MACHINE_DEV_CMOS_H
#define MACHINE_DEV_CMOS_H
#include <stdint.h>

struct cmos { uint8_t index, memory[128]; };

/* memory_bytes: guest RAM, for the size registers that BIOSes leave there. */
void cmos_reset(struct cmos *c, uint64_t memory_bytes);
uint8_t cmos_read(struct cmos *c, uint16_t port);
void cmos_write(struct cmos *c, uint16_t port, uint8_t value);
#endif
