/* The path lengths of the built-in VMMs, as one table: default, documentation, key. */
#include "vmm.h"
#include <stddef.h>

/*
 * Where the numbers come from. No paper publishes instruction counts of a monitor's paths. Lengths marked "measured" were those of our own C for the same step when the key was made,
 * counted by callgrind (workloads `divzero` and `in`, gcc 12 -O2, memory accesses apart because handlers make those as events; two widths: their mean, rounded). They stay what they are:
 * our C becomes another when the simulator becomes faster, and speed must not change a statistic. analysis/path_lengths.py prints what our C takes now beside each default, as a look at
 * the order of magnitude. All others are estimates of the straight-line code beside loads and stores, such that hardware figures plus they stay near whole exits measured elsewhere: cpuid
 * under KVM on a recent core took 1018-1098 cycles and a null vmcall 1300-1559, of which the hardware alone takes 761-1009 (Agesen et al., USENIX ATC 2012, table 1: Westmere, Nehalem), which
 * leaves about 150-500 instructions for an exit without a device. They are inputs: what a system call, a fault or a fork costs follows from them and is set nowhere.
 */
enum kind { FLAG, U32, U64 };
static const struct key { const char *name; enum kind kind; size_t at; uint64_t value; const char *doc; } keys[] = {
#define KEY(field, kind, value, doc) { #field, kind, offsetof(struct vmm_config, field), value, doc }
	KEY(vpid, FLAG, 1, "the processor tags translations by VPID: no TLB flush at VMX transitions (Nehalem and later; the preset says)"),
	KEY(ept_ad, FLAG, 1, "EPT accessed and dirty flags (Haswell and later); guest table references count as writes"),
	KEY(ept_page_shift, U32, 12, "page size of EPT mappings: 12 (4 KiB) or 21 (2 MiB)"),
	KEY(dispatch_instructions, U32, 120, "save registers, read the exit reason, jump to the handler, and the way back"),
	KEY(fill_instructions, U32, 220, "shadow fill beside its loads and stores: classify the fault, build entries"),
	KEY(trace_instructions, U32, 260, "traced page-table write: decode the store, carry it out, find the shadows"),
	KEY(reflect_instructions, U32, 100, "work out that a fault is the guest's own and forward it"),
	KEY(emulate_instructions, U32, 90, "carry out one sensitive instruction on the virtual CPU"),
	KEY(device_instructions, U32, 470, "find the device of a port and run its model; measured when the key was made: machine_io_in() for port 0x80, with the interrupt lines looked at"),
	KEY(backend_instructions, U32, 4000, "hand a byte of output to the monitor's process: an exit served in user space costs 4167 cycles more than one served in the kernel (6732 - 2565, Xeon E5-2450, quoted)"),
	KEY(inject_instructions, U32, 80, "acknowledge an interrupt and prepare its injection"),
	KEY(ept_fill_instructions, U32, 300, "EPT violation beside its loads and stores"),
	KEY(switch_instructions, U32, 150, "find or make the shadow of an address space"),
	KEY(hypercall_instructions, U32, 50, "decode a hypercall's arguments and return"),
	KEY(mmu_update_instructions, U32, 70, "one validated page-table update (Xen's do_mmu_update path is about this long)"),
	KEY(bounce_instructions, U32, 90, "build a bounce frame for the paravirtual guest"),
	KEY(validate_instructions, U32, 8, "look at one entry of a page that becomes a page table"),
	KEY(vmcs_reads, U32, 6, "VMREADs of the common exit path: reason, qualification, instruction length, RIP, RSP, interruptibility"),
	KEY(vmcs_writes, U32, 2, "VMWRITEs of the common entry path: RIP, entry interruption information"),
	KEY(shadow_roots, U32, 32, "shadow roots that are kept when the guest leaves an address space (1 = rebuild at every MOV CR3)"),
	KEY(bt_unit_instructions, U32, 12, "translation unit (Adams and Agesen 2006, section 3)"),
	KEY(bt_translate_instructions, U32, 350, "VMM instructions to decode, translate and emit one guest instruction"),
	KEY(bt_callout_instructions, U32, 40, "callout: spill, call, restore (beside what is emulated)"),
	KEY(bt_hash_instructions, U32, 14, "extra instructions of a translated indirect branch or return: hash, compare, spill flags"),
	KEY(bt_adapt_threshold, U32, 8, "page-table-store traps of a fragment before its stores become callouts"),
	KEY(bt_simulate_instructions, U32, 40, "extra instructions of an adapted page-table store beside its loads and stores"),
	KEY(bt_reflect_instructions, U32, 750, "deliver an exception to the virtual CPU in software; measured when the key was made: cpu_deliver(), 833 in 32 and 655 in 64 bit"),
	KEY(bt_return_instructions, U32, 750, "IRET, SYSRET on the virtual CPU in software; measured when the key was made: sys_iret(), 695 in 32 and 795 in 64 bit"),
	KEY(bt_cache_bytes, U64, 4ull << 20, "translation cache; flushed whole when it is full"),
#undef KEY
};

bool vmm_config_key(struct vmm_config *c, unsigned i, const char **name, uint32_t **u32, uint64_t **u64, bool **flag, const char **doc)
{
	if (i >= sizeof keys / sizeof *keys)
		return false;
	char *at = (char *)c + keys[i].at;
	*name = keys[i].name;
	*doc = keys[i].doc;
	*u32 = keys[i].kind == U32 ? (uint32_t *)(void *)at : NULL;
	*u64 = keys[i].kind == U64 ? (uint64_t *)(void *)at : NULL;
	*flag = keys[i].kind == FLAG ? (bool *)at : NULL;
	return true;
}

void vmm_config_default(struct vmm_config *c)
{
	const char *name, *doc;
	uint32_t *u32;
	uint64_t *u64;
	bool *flag;
	memset(c, 0, sizeof *c);
	for (unsigned i = 0; vmm_config_key(c, i, &name, &u32, &u64, &flag, &doc); i++) {
		if (u32)
			*u32 = (uint32_t)keys[i].value;
		else if (u64)
			*u64 = keys[i].value;
		else
			*flag = keys[i].value;
	}
}
