/*
 * Pentium 4 672, 3.8 GHz (Prescott 2M, 2005): the first processor with VT-x, and the one that Adams and Agesen measured (ASPLOS 2006).
 *
 * Invariant: inputs are hardware figures; what a nanobenchmark of that paper costs is never among them. "Recalled" marks a figure that was not read in its source, used only where
 * no checked one is known; "assumed" marks a parameter of the model.
 */
#include "preset.h"

const struct preset preset_prescott = {
	.name = "prescott", .summary = "Pentium 4 672, 3.8 GHz: first VT-x processor, no EPT, no VPID", .source = "Adams and Agesen, ASPLOS 2006; Agesen et al., USENIX ATC 2012, table 1",
	.mhz = 3800,                              /* Adams and Agesen 2006, section 6 */
	.vpid = false, .ept = false,              /* both came with Nehalem */
	.tlb = {
		.l1d = { { .entries = 64, .ways = 64, .page_sizes = TLB_4K | TLB_2M | TLB_1G } }, /* CPUID leaf 2: 64 entries, 4 KiB and 4 MiB pages shared; fully associative. 1 GiB: not in that
		                                                                                    processor, but EPT may use it */
		.l1i = { { .entries = 64, .ways = 64, .page_sizes = TLB_4K | TLB_2M | TLB_1G } }, /* CPUID leaf 2 */
		.walk_cache = "none",             /* none is documented for this core */
	},
	.l2_tlb_hit = 0,                          /* has no second level */
	.walk_start = 7,                          /* assumed: a quarter of the 31-stage pipeline; the references do the rest */
	.l1i = { 16384, 8, 64, 4 },               /* assumed: stands for the 12 k-micro-op trace cache, about 16 KiB of code */
	.l1d = { 16384, 8, 64, 4 },               /* CPUID: 16 KiB, 8 ways; 4 cycles recalled */
	.l2 = { 2u << 20, 8, 64, 27 },            /* CPUID: 2 MiB, 8 ways; 27 cycles recalled */
	.l3 = { 0, 0, 0, 0 },
	/* About 110 ns load to use (recalled) = 418 cycles, less the 27 of L2, for a closed bank; tRCD = tRP = 15 ns = 57 cycles of DDR2-533 4-4-4 (JESD79-2) make the other two. */
	.dram = { .banks = 8, .row_bytes = 8192, .row_hit = 334, .row_miss = 391, .row_conflict = 448 },
	.milli_cpi = 1000,                        /* assumed: one instruction a cycle in order */
	.branch_taken = 1,                        /* assumed: the trace cache follows predicted branches; mispredictions are not modelled by this core */
	.serialize = 150,                         /* recalled: order of MOV CR, IRET and INVLPG on this core */
	.exception = 500,                         /* recalled: order of interrupt-gate delivery on this core */
	.syscall = 300,                           /* assumed: order of a SYSENTER and SYSEXIT pair on this core; no checked figure is known */
	.port_io = 3800,                          /* assumed: about 1 microsecond, the usual order for a port behind the chipset's ISA bridge */
	.rep_iteration_milli = 1000,              /* assumed */
	/* VMX: the round trip is 3963 (Agesen et al., ATC 2012, table 1; paper). Its split follows Adams' figures of 1931 for a page-fault exit and 2409 for an entry (recalled): 44.5 %.
	   Trap: `exception` and `serialize` of this preset. Callout: a mispredicted call and return, 30 cycles each (31-stage pipeline; recalled). Syscall: half the pair. */
	.exit_cost = { 1763, 500, 30, 150 },
	.entry_cost = { 2200, 150, 30, 150 },
	.vmread = 178, .vmwrite = 171,            /* recalled (Adams and Agesen's processor) */
	.vmm_milli_cpi = 1000,                    /* as guest code */
};
