/* What EV_TLB_FLUSH.id means: hardware TLB maintenance as the modelled TLBs see it. Walk caches follow the same scopes (SDM 3A 4.10.4, 3C 28.4.3). */
#ifndef TLB_FLUSH_H
#define TLB_FLUSH_H
enum tlb_flush {
	TLB_FLUSH_ALL,            /* every translation of every VPID: VM entry or exit without VPID, hardware reset */
	TLB_FLUSH_VPID,           /* all of one VPID, globals included (INVVPID single context; CR4.PGE toggle under its VPID). aux = vpid */
	TLB_FLUSH_VPID_NOGLOBAL,  /* all but globals of one VPID: MOV CR3 with PCID off */
	TLB_FLUSH_PCID,           /* all but globals of one (vpid, pcid): MOV CR3 with PCID on, INVPCID 1. addr = pcid */
	TLB_FLUSH_PAGE,           /* one page in (vpid, current pcid) and globals; all walk caches of the pcid: INVLPG. addr = gva; id's pcid travels in paging */
	TLB_FLUSH_PAGE_PCID,      /* one page of (vpid, pcid), no globals: INVPCID 0. addr = gva page | pcid */
	TLB_FLUSH_EPT,            /* combined and guest-physical translations: INVEPT */
	TLB_FLUSH_KINDS
};
#endif
