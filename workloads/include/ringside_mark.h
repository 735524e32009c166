/*
 * Marks: a guest program names a region of itself, so that the simulator can report cycles and events of that region.
 * A mark is the architectural NOP `nopl disp32(%eax)` (0F 1F 80 disp32; SDM 2B "NOP") with a magic displacement: it does
 * nothing on any processor, in any ring, costs nothing in simulated time and never traps.
 *   displacement: 0x5253 (31..16) | region id (15..1) | 1 = begin, 0 = end
 */
#ifndef RINGSIDE_MARK_H
#define RINGSIDE_MARK_H
#define RS_MARK_MAGIC 0x52530000u
#define RS_MARK_BEGIN(id) __asm__ volatile(".byte 0x0f,0x1f,0x80\n .long %c0" ::"i"((int)(RS_MARK_MAGIC | ((id) << 1) | 1)) : "memory")
#define RS_MARK_END(id) __asm__ volatile(".byte 0x0f,0x1f,0x80\n .long %c0" ::"i"((int)(RS_MARK_MAGIC | ((id) << 1))) : "memory")
#endif
