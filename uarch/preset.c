#include "preset.h"
#include <string.h>

static const struct preset *const presets[] = {
#define PRESET(id) &preset_##id,
#include "presets.def"
#undef PRESET
};
#define PRESETS (sizeof presets / sizeof *presets)

const struct preset *preset_at(unsigned i)
{
	return i < PRESETS ? presets[i] : NULL;
}

const struct preset *preset_find(const char *name)
{
	for (unsigned i = 0; i < PRESETS; i++)
		if (!strcmp(presets[i]->name, name))
			return presets[i];
	return NULL;
}

static const struct { const char *name; size_t offset; const char *doc; } keys[] = {
#define KEY(name, field, doc) { name, offsetof(struct preset, field), doc }
#define CACHE_KEYS(name, field, what) \
	KEY(name ".bytes", field.bytes, what ": size, bytes"), KEY(name ".ways", field.ways, what ": ways"), KEY(name ".line", field.line, what ": line, bytes"), \
	KEY(name ".latency", field.latency, what ": load to use, cycles")
	KEY("mhz", mhz, "clock, MHz: converts device time to cycles"),
	KEY("l2_tlb_hit", l2_tlb_hit, "hit in the second-level TLB, cycles over a first-level hit"),
	KEY("walk_start", walk_start, "start of a page walk, cycles"),
	CACHE_KEYS("l1i", l1i, "L1 instruction cache"),
	CACHE_KEYS("l1d", l1d, "L1 data cache"),
	CACHE_KEYS("l2", l2, "L2 cache"),
	CACHE_KEYS("l3", l3, "L3 cache"),
	KEY("dram.banks", dram.banks, "DRAM banks"),
	KEY("dram.row_bytes", dram.row_bytes, "DRAM row, bytes"),
	KEY("dram.row_hit", dram.row_hit, "DRAM access to an open row, cycles beyond the last cache"),
	KEY("dram.row_miss", dram.row_miss, "DRAM access to a closed bank"),
	KEY("dram.row_conflict", dram.row_conflict, "DRAM access when another row is open"),
	KEY("milli_cpi", milli_cpi, "one instruction, thousandths of a cycle, when nothing stalls"),
	KEY("branch_taken", branch_taken, "extra for a taken transfer, cycles"),
	KEY("serialize", serialize, "extra for MOV CR, INVLPG, CPUID, IRET and kin, cycles"),
	KEY("exception", exception, "delivery through the IDT, cycles"),
	KEY("syscall", syscall, "SYSCALL and SYSRET together, cycles"),
	KEY("port_io", port_io, "native IN or OUT to the chipset, cycles"),
	KEY("rep_iteration_milli", rep_iteration_milli, "one REP iteration, thousandths of a cycle"),
	KEY("vmx.exit", exit_cost[0], "VM exit, cycles"), KEY("vmx.entry", entry_cost[0], "VM entry, cycles"),
	KEY("trap.exit", exit_cost[1], "exception gate into a ring-0 VMM, cycles"), KEY("trap.entry", entry_cost[1], "IRET back, cycles"),
	KEY("callout.exit", exit_cost[2], "call from the translation cache into the VMM, cycles"), KEY("callout.entry", entry_cost[2], "return into it, cycles"),
	KEY("syscall.exit", exit_cost[3], "SYSCALL into a ring-0 VMM, cycles"), KEY("syscall.entry", entry_cost[3], "SYSRET back, cycles"),
	KEY("vmread", vmread, "VMREAD, cycles"),
	KEY("vmwrite", vmwrite, "VMWRITE, cycles"),
	KEY("vmm_milli_cpi", vmm_milli_cpi, "one VMM instruction, thousandths of a cycle"),
	KEY("tlb.l1d.entries", tlb.l1d[0].entries, "first L1 data TLB array: entries"), KEY("tlb.l1d.ways", tlb.l1d[0].ways, "its ways"),
	KEY("tlb.l1i.entries", tlb.l1i[0].entries, "first L1 instruction TLB array: entries"), KEY("tlb.l1i.ways", tlb.l1i[0].ways, "its ways"),
	KEY("tlb.l2.entries", tlb.l2[0].entries, "first L2 TLB array: entries"), KEY("tlb.l2.ways", tlb.l2[0].ways, "its ways"),
	KEY("tlb.pde_cache", tlb.walk_cache_entries[2], "walk cache of page-directory entries"),
	KEY("tlb.pdpte_cache", tlb.walk_cache_entries[3], "walk cache of PDPTEs"),
	KEY("tlb.pml4e_cache", tlb.walk_cache_entries[4], "walk cache of PML4Es"),
	KEY("tlb.nested_entries", tlb.nested_tlb_entries, "nested TLB: guest-physical to host-physical"),
#undef CACHE_KEYS
#undef KEY
};

bool preset_key(struct preset *p, unsigned i, const char **name, uint32_t **value, const char **doc)
{
	if (i >= sizeof keys / sizeof *keys)
		return false;
	*name = keys[i].name;
	*value = (uint32_t *)((char *)p + keys[i].offset);
	*doc = keys[i].doc;
	return true;
}
