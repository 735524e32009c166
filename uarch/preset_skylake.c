/*
 * Core i7-6700K class, Skylake client (2015): VPID, EPT, PCID, two-level TLBs, paging-structure caches.
 *
 * Invariant: inputs are hardware figures. "Recalled" marks a figure that was not read in its source, used only where no checked one is known; "assumed" marks a parameter of the model.
 */
#include "preset.h"

const struct preset preset_skylake = {
	.name = "skylake", .summary = "Skylake client, 4.0 GHz: EPT, VPID, PCID, 1536-entry L2 TLB", .source = "CPUID dumps and measured latency curves; Agesen et al., USENIX ATC 2012",
	.mhz = 4000,                              /* nominal clock of the i7-6700K */
	.vpid = true, .ept = true,
	.tlb = {
		.l1d = { { .entries = 64, .ways = 4, .page_sizes = TLB_4K }, { .entries = 32, .ways = 4, .page_sizes = TLB_2M }, { .entries = 4, .ways = 4, .page_sizes = TLB_1G } }, /* CPUID leaf 2 */
		.l1i = { { .entries = 128, .ways = 8, .page_sizes = TLB_4K }, { .entries = 8, .ways = 8, .page_sizes = TLB_2M | TLB_1G } }, /* CPUID leaf 2 */
		.l2 = { { .entries = 1536, .ways = 12, .page_sizes = TLB_4K | TLB_2M }, { .entries = 16, .ways = 4, .page_sizes = TLB_1G } }, /* CPUID leaf 2 */
		.tagged_pcid = true, .tagged_vpid = true,
		.walk_cache = "per-level",        /* paging-structure caches: SDM 3A 4.10.3 */
		.walk_cache_entries = { [2] = 32, [3] = 16, [4] = 16, [5] = 16 }, /* sizes are unpublished: 16 to 32 a level, as simulators use */
		.nested_tlb_entries = 16,         /* recalled, from AMD's design (Bhargava et al., ASPLOS 2008); Intel's is unpublished */
	},
	.l2_tlb_hit = 9,                          /* measured: +9 cycles over an L1 hit */
	.walk_start = 7,                          /* assumed; warm walks then cost the 27-40 cycles that curves of Sandy Bridge show */
	.l1i = { 32768, 8, 64, 4 },               /* CPUID leaf 4 */
	.l1d = { 32768, 8, 64, 4 },               /* CPUID leaf 4; 4 cycles measured */
	.l2 = { 262144, 4, 64, 14 },              /* CPUID leaf 4; 14 cycles measured */
	.l3 = { 8u << 20, 16, 64, 47 },           /* CPUID leaf 4; 47 cycles measured */
	/* 72 ns load to use (measured) = 288 cycles, less the 47 of L3, for a closed bank; tRCD = tRP = 14.06 ns = 56 cycles of DDR4-2133 15-15-15 (JESD79-4) make the other two. */
	.dram = { .banks = 16, .row_bytes = 8192, .row_hit = 185, .row_miss = 241, .row_conflict = 297 },
	.milli_cpi = 500,                         /* assumed: two instructions a cycle, half of what the four-wide core can do */
	.branch_taken = 1,                        /* one taken branch a cycle or two; mispredictions are not modelled by this core */
	.serialize = 200,                         /* INVLPG about 200 (quoted); CR3 write about 300 (quoted) */
	.exception = 300,                         /* recalled: order of interrupt-gate delivery */
	.syscall = 100,                           /* recalled: SYSCALL and SYSRET together */
	.port_io = 4000,                          /* assumed: about 1 microsecond, the usual order for a port behind the chipset */
	.rep_iteration_milli = 500,               /* assumed */
	/* VMX: the round trip is Sandy Bridge's 784 (Agesen et al., ATC 2012, table 1; paper), the newest of the hardware alone that was published; half and half is assumed.
	   Trap: `exception` and `serialize`. Callout: a mispredicted call and return, 16 cycles each (recalled). Syscall: half the pair. */
	.exit_cost = { 392, 300, 16, 50 },
	.entry_cost = { 392, 200, 16, 50 },
	.vmread = 52, .vmwrite = 44,              /* recalled, of a Core 2 Duo: nothing newer is published */
	.vmm_milli_cpi = 500,                     /* as guest code */
};
