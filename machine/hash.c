/* State hashes: what is compared between techniques, and between runs. */
#include "machine_private.h"

uint64_t hash_start(void)
{
	return 0xcbf29ce484222325ull;
}

/* The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) over a running value. */
uint64_t hash_word(uint64_t h, uint64_t word)
{
	h = (h ^ word) + 0x9e3779b97f4a7c15ull;
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ h >> 27) * 0x94d049bb133111ebull;
	return h ^ h >> 31;
}

static inline uint64_t lane_take(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * 0x9e3779b97f4a7c15ull;
	return lane ^ lane >> 29;
}

/* Four lanes take words in turn: a multiplication a word, and four of them at a time. */
static inline void lanes_take(uint64_t lane[4], const uint64_t word[4])
{
	for (unsigned i = 0; i < 4; i++)
		lane[i] = lane_take(lane[i], word[i]);
}

uint64_t machine_state_hash(const struct machine *m)
{
	uint64_t h = hash_word(m->console.hash, m->cpu.user_calls);
	return hash_word(h, (uint32_t)m->exit_code);
}

static uint64_t page_hash(const uint8_t *page, uint64_t gpa)
{
	uint64_t lane[4] = { 1, 2, 3, 4 };
	if (!page[0] && !memcmp(page, page + 1, 4095))
		return 0; /* all zero: most pages are */
	for (unsigned at = 0; at < 4096; at += 32) {
		uint64_t word[4];
		memcpy(word, page + at, sizeof word);
		lanes_take(lane, word);
	}
	return hash_word(hash_word(hash_word(hash_word(gpa, lane[0]), lane[1]), lane[2]), lane[3]);
}

uint64_t machine_memory_hash(struct machine *m)
{
	const struct cpu *cpu = &m->cpu;
	uint64_t h = m->console.hash;
	for (unsigned r = 0; r < 16; r++)
		h = hash_word(h, cpu->reg[r]);
	const uint64_t words[] = { cpu->rip, cpu_eflags(cpu), cpu->cr0, cpu->cr2, cpu->cr3, cpu->cr4, cpu->cr8, cpu->efer };
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		h = hash_word(h, words[i]);
	for (unsigned s = 0; s < SEG_COUNT; s++)
		h = hash_word(h, cpu->seg[s].selector);
	for (uint64_t gpa = 0; gpa < m->config.memory_bytes; gpa += 4096) {
		uint64_t hpa = m->mmu.part->gpa_to_hpa(m->mmu.part_self, gpa);
		const uint8_t *page = hpa == UINT64_MAX ? NULL : phys_ptr(&m->phys, hpa, 4096);
		uint64_t p = page ? page_hash(page, gpa) : 0;
		if (p)
			h = hash_word(h, p);
	}
	return h;
}
