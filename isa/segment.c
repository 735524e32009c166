/* Segment registers and descriptors: SDM 3A chapters 3 and 5. */
#include "transfer.h"

bool descriptor_find(const struct cpu *cpu, uint16_t selector, unsigned bytes, uint64_t *linear)
{
	uint32_t index = selector & 0xfff8u, limit = cpu->gdtr.limit;
	uint64_t base = cpu->gdtr.base;
	if (selector & 4) {
		if (cpu->ldtr.attributes & SEGA_UNUSABLE)
			return false;
		limit = cpu->ldtr.limit;
		base = cpu->ldtr.base;
	}
	if (index + bytes - 1 > limit)
		return false;
	*linear = base + index;
	if (!cpu_long_mode(cpu))
		*linear &= 0xffffffff;
	return true;
}

uint64_t descriptor_read(struct cpu *cpu, uint16_t selector, enum vector outside)
{
	uint64_t linear;
	if (!descriptor_find(cpu, selector, 8, &linear))
		raise_selector(cpu, outside, selector);
	return memory_get(cpu, linear, 8, true);
}

uint64_t descriptor_read_upper(struct cpu *cpu, uint16_t selector, enum vector outside)
{
	uint64_t linear;
	if (!descriptor_find(cpu, selector, 16, &linear))
		raise_selector(cpu, outside, selector);
	return memory_get(cpu, linear + 8, 8, true);
}

struct segment descriptor_segment(uint16_t selector, uint64_t raw)
{
	struct segment s = { .selector = selector };
	s.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
	s.limit = (uint32_t)((raw & 0xffff) | (raw >> 32 & 0xf0000));
	s.attributes = (uint32_t)(raw >> 40) & 0xf0ff;
	if (s.attributes & SEGA_G)
		s.limit = s.limit << 12 | 0xfff;
	return s;
}

struct segment descriptor_access(struct cpu *cpu, uint16_t selector, uint64_t raw)
{
	struct segment s = descriptor_segment(selector, raw);
	uint64_t linear;
	if (!(s.attributes & SEGA_ACCESSED) && descriptor_find(cpu, selector, 8, &linear))
		mem_write_u(cpu, linear + 5, (raw >> 40 & 0xff) | SEGA_ACCESSED, 1, true);
	s.attributes |= SEGA_ACCESSED;
	return s;
}

void descriptor_set_busy(struct cpu *cpu, uint16_t selector, bool busy)
{
	uint64_t linear;
	if (!descriptor_find(cpu, selector, 8, &linear))
		return;
	uint64_t type = memory_get(cpu, linear + 5, 1, true);
	mem_write_u(cpu, linear + 5, busy ? type | TSS_BUSY : type & ~(uint64_t)TSS_BUSY, 1, true);
}

struct segment segment_null(uint16_t selector, unsigned dpl)
{
	return (struct segment){ .selector = selector, .attributes = SEGA_UNUSABLE | dpl << SEGA_DPL_SHIFT };
}

bool segment_fits_slow(const struct segment *s, uint64_t offset, unsigned n)
{
	uint64_t last = offset + n - 1;
	if ((s->attributes & (SEGA_S | SEGA_CODE | SEGA_DOWN_CONFORMING)) == (SEGA_S | SEGA_DOWN_CONFORMING))
		return offset > s->limit && last >= offset && last <= (s->attributes & SEGA_DB ? 0xffffffffu : 0xffffu);
	return last >= offset && last <= s->limit;
}

struct segment segment_check_stack(struct cpu *cpu, uint16_t selector, unsigned cpl, enum vector v)
{
	if (selector_is_null(selector))
		raise_selector(cpu, v, 0);
	uint64_t raw = descriptor_read(cpu, selector, v);
	if ((selector & 3u) != cpl || !descriptor_is_writable_data(raw) || descriptor_dpl(raw) != cpl)
		raise_selector(cpu, v, selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_SS, selector);
	return descriptor_access(cpu, selector, raw);
}

struct segment segment_check_data(struct cpu *cpu, uint16_t selector, unsigned cpl, enum vector v)
{
	uint64_t raw = descriptor_read(cpu, selector, v);
	unsigned type = descriptor_type(raw), dpl = descriptor_dpl(raw);
	bool readable = descriptor_is_segment(raw) && (type & (SEGA_CODE | SEGA_WRITE_READ)) != SEGA_CODE;
	bool ranked = !descriptor_is_conforming(raw); /* data and non-conforming code: both RPL and CPL <= DPL */
	if (!readable || (ranked && ((selector & 3u) > dpl || cpl > dpl)))
		raise_selector(cpu, v, selector);
	if (!descriptor_present(raw))
		raise_selector(cpu, VEC_NP, selector);
	return descriptor_access(cpu, selector, raw);
}

void segment_load_real(struct cpu *cpu, enum segment_name seg, uint16_t selector)
{
	cpu->seg[seg].selector = selector;
	cpu->seg[seg].base = (uint64_t)selector << 4;
}

/* SDM 2B MOV, "Loading a segment register": a null selector is data's right, and SS's in 64-bit mode below ring 3 if RPL = CPL. */
void segment_load(struct cpu *cpu, enum segment_name seg, uint16_t selector)
{
	if (!cpu_protected(cpu)) {
		segment_load_real(cpu, seg, selector);
	} else if (seg == SEG_SS) {
		bool null_ss = selector_is_null(selector) && cpu_code64(cpu) && cpu->cpl < 3 && (selector & 3) == cpu->cpl;
		cpu->seg[seg] = null_ss ? segment_null(selector, cpu->cpl) : segment_check_stack(cpu, selector, cpu->cpl, VEC_GP);
	} else if (selector_is_null(selector)) {
		cpu->seg[seg] = segment_null(selector, 0);
	} else {
		cpu->seg[seg] = segment_check_data(cpu, selector, cpu->cpl, VEC_GP);
	}
	cpu_mode_update(cpu);
}

void segment_drop_inner(struct cpu *cpu, unsigned cpl)
{
	static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	for (unsigned i = 0; i < 4; i++) {
		struct segment *s = &cpu->seg[data[i]];
		if (segment_is_inner(s, cpl)) {
			/* The base survives: SDM 2B RET only marks the register unusable; 64-bit code goes on using the base of FS and GS. */
			s->selector = 0;
			s->attributes = SEGA_UNUSABLE;
		}
	}
}

void segment_set_flat(struct cpu *cpu, enum segment_name seg, uint16_t selector, unsigned dpl, bool code, unsigned code_size)
{
	cpu->seg[seg] = code ? segment_flat_code(selector, dpl, code_size == 8) : segment_flat_data(selector, dpl);
	if (code && code_size == 2)
		cpu->seg[seg].attributes &= ~(uint32_t)SEGA_DB;
	cpu_mode_update(cpu);
}

/* SDM 3A 5.3 to 5.5 for data accesses; 3.3.7.1 in 64-bit mode, where only FS and GS have a base. */
uint64_t segment_linear(struct cpu *cpu, enum segment_name seg, uint64_t offset, unsigned size, enum access access)
{
	const struct segment *s = &cpu->seg[seg];
	enum vector v = seg == SEG_SS ? VEC_SS : VEC_GP;
	if (cpu_code64(cpu)) {
		uint64_t linear = offset + (seg >= SEG_FS ? s->base : 0);
		if (!cpu_canonical(cpu, linear) || !cpu_canonical(cpu, linear + size - 1))
			cpu_raise_error(cpu, v, 0);
		return linear;
	}
	bool code = s->attributes & SEGA_CODE, type_ok = true;
	if (access == ACCESS_WRITE)
		type_ok = !code && s->attributes & SEGA_WRITE_READ;
	else if (access == ACCESS_READ)
		type_ok = !code || s->attributes & SEGA_WRITE_READ;
	if (s->attributes & SEGA_UNUSABLE || !segment_fits(s, offset, size))
		cpu_raise_error(cpu, v, 0);
	if (!type_ok && cpu_protected(cpu))
		cpu_raise_error(cpu, VEC_GP, 0);
	return (s->base + offset) & 0xffffffff;
}
