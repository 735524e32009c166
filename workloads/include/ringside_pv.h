/*
 * The paravirtual machine interface of Ringside, shared by the `paravirt` VMM (vmx-model/) and by the
 * paravirtual build of the guest kernel (workloads/kernel/).
 *
 * Invariant: a guest never holds a writable mapping of a frame that is in use as a page table, and no page
 * table maps a frame that the VMM did not grant. Everything below exists to keep that true (Barham et al.,
 * "Xen and the Art of Virtualization", SOSP 2003, section 3.3), while the guest reads its tables freely.
 *
 * Privilege. The guest kernel runs in ring 1, user programs in ring 3, the VMM in ring 0. Page-level protection
 * treats ring 1 as supervisor (SDM 3A 4.6), so U/S keeps user programs out of the kernel as it does natively.
 *
 * Start of the day. The VMM loads the ELF file by p_paddr (pseudo-physical addresses), builds page tables that
 * map all of the domain's memory at PV_KBASE + pseudo-physical address (4 KiB pages, supervisor; page tables
 * read-only, all else writable), and enters e_entry (a virtual address) in ring 1 with paging on, flat segments
 * (selectors below), EFLAGS = 0x2, virtual interrupts masked, and ESI/RSI = virtual address of struct pv_start_info.
 * 32-bit domains use two-level 32-bit paging, 64-bit domains four-level paging. CR0.TS = 0, CR4.OSFXSR = 1.
 *
 * Page tables. Direct paging: entries in guest page tables hold *machine* frame numbers. p2m[pfn] gives the machine
 * frame of a pseudo-physical frame; m2p[mfn] the inverse (0xffffffff: not yours). A page becomes a table by being
 * linked into an upper-level entry (or by PV_MMUEXT_NEW_BASEPTR / PIN) after the guest has made every mapping of it
 * read-only; the VMM validates all of its entries then. It becomes an ordinary page again when the last link to it is
 * gone (and it is not pinned); only then may the guest map it writable.
 * Page-table pages are changed only by PV_MMU_UPDATE. A direct store to one is a page fault that is delivered to the
 * guest, as is any other protection fault.
 *
 * Hypercalls: `int $0x82` from ring 1. Number in EAX/RAX; arguments in EBX ECX EDX ESI EDI (32-bit) or RDI RSI RDX
 * R10 R8 (64-bit); result in EAX/RAX, negative (-1 .. -22) for an error. All other registers are preserved.
 * `int $0x82` from ring 3 is a general protection fault.
 *
 * Traps. An exception, or `int n` whose trap-table entry has dpl 3, taken in ring 3 switches to the kernel stack set by
 * PV_STACK_SWITCH; taken in ring 1 it stays on the present stack. The frame is what the hardware would push: 32-bit
 * [SS ESP if from ring 3] EFLAGS CS EIP [error code]; 64-bit SS RSP RFLAGS CS RIP [error code], RSP aligned to 16 before.
 * In the saved EFLAGS, IF holds the *virtual* interrupt flag (not upcall_mask); entering the handler sets upcall_mask
 * to 1. CR2 of a page fault is in shared_info.cr2. SYSCALL from ring 3 (64-bit) goes to the handler of
 * PV_CALLBACK_SYSCALL, with the same 64-bit frame and no error code, on the kernel stack (RCX and R11 as SYSCALL set them).
 * Virtual interrupts (events) go to PV_CALLBACK_EVENT with the same frame, whenever upcall_pending is set and
 * upcall_mask is clear; the VMM looks at this on every return to the guest. The handler clears upcall_pending and
 * reads and clears pending_events itself.
 *
 * Return. PV_IRET with the stack pointing at: saved EAX/RAX, then EIP CS EFLAGS [ESP SS if CS.RPL is 3] (32-bit; a return to
 * ring 1 pops three words) or RIP CS RFLAGS RSP SS (64-bit). upcall_mask becomes !EFLAGS.IF. CS and SS RPL must be 1 or 3.
 *
 * Privileged instructions in ring 1 are general protection faults, delivered to the guest, but for two that the VMM emulates: IN and OUT with an
 * immediate port or DX (ports that the domain does not own read all ones and ignore writes), and MOV to CR8 (64-bit domains).
 *
 * cli = store 1 to upcall_mask; sti = store 0 to it, then if upcall_pending is set: PV_FORCE_EVENT.
 * PV_SCHED_BLOCK clears upcall_mask and idles until an event.
 */
#ifndef RINGSIDE_PV_H
#define RINGSIDE_PV_H

#define PV_MAGIC 0x30565052u /* "RPV0" */

/* Where the domain's memory appears, by width. The native builds map it at the same place. */
#define PV_KBASE_32 0xC0000000u
#define PV_KBASE_64 0xffffffff80000000ull

/* Selectors of the VMM's GDT. The native kernel uses the same indices with RPL 0 for its own. */
#define PV_KCS 0x09u    /* ring 1 code: 32-bit, or 64-bit in a 64-bit domain */
#define PV_KDS 0x11u    /* ring 1 data */
#define PV_UCS32 0x1bu  /* ring 3 32-bit code */
#define PV_UDS 0x23u    /* ring 3 data */
#define PV_UCS64 0x2bu  /* ring 3 64-bit code (64-bit domains) */
#define PV_UTLS32 0x2bu /* ring 3 data with the base of PV_SET_SEGMENT_BASE (32-bit domains) */

enum pv_hypercall {
	PV_SET_TRAP_TABLE = 1, /* (entries va, count): struct pv_trap[]; a later entry replaces an earlier one */
	PV_MMU_UPDATE = 2,     /* (requests va, count <= 2048): struct pv_mmu_update[]; result: how many were done, or an error if none */
	PV_MMUEXT_OP = 3,      /* (ops va, count): struct pv_mmuext_op[] */
	PV_STACK_SWITCH = 4,   /* (kernel stack pointer): the ring 1 stack for traps from ring 3 */
	PV_SET_CALLBACK = 5,   /* (enum pv_callback, handler va) */
	PV_IRET = 6,           /* see above; does not return */
	PV_SCHED_OP = 7,       /* (enum pv_sched, argument) */
	PV_SET_TIMER = 8,      /* (hz): periodic timer event, 0 = off */
	PV_CONSOLE_WRITE = 9,  /* (bytes va, count): goes to the machine's serial port */
	PV_FORCE_EVENT = 10,   /* (): deliver a pending event now */
	PV_UPDATE_VA = 11,     /* (va, new leaf entry low 32 bits [64-bit: all], high 32 bits): change the leaf entry that maps va in
	                          the present page table, and invalidate va */
	PV_SET_SEGMENT_BASE = 12, /* 64-bit domains: (0 = user FS, 1 = user GS; base). 32-bit domains: (ignored; base): the base of the thread segment
	                             PV_UTLS32, for selectors loaded afterwards */
};

enum pv_callback { PV_CALLBACK_EVENT = 0, PV_CALLBACK_SYSCALL = 1 };
enum pv_sched { PV_SCHED_YIELD = 0, PV_SCHED_BLOCK = 1, PV_SCHED_SHUTDOWN = 2 /* argument: exit code */ };

struct pv_trap {
	unsigned int vector; /* 0..255; 0x82 is refused */
	unsigned int dpl;    /* 3: `int n` allowed from ring 3 */
	unsigned long long handler;
};

struct pv_mmu_update {
	unsigned long long ptr; /* machine address of the page-table entry */
	unsigned long long val; /* its new value (machine frame) */
};

enum pv_mmuext {
	PV_MMUEXT_NEW_BASEPTR = 1, /* arg: machine frame number of the new top-level table (validated if it was not) */
	PV_MMUEXT_INVLPG = 2,      /* arg: virtual address */
	PV_MMUEXT_FLUSH = 3,       /* all of the domain's translations */
	PV_MMUEXT_PIN = 4,         /* arg: machine frame of a top-level table: validate it and hold a reference */
	PV_MMUEXT_UNPIN = 5,       /* arg: likewise: drop that reference; an unreferenced table becomes an ordinary page */
};

struct pv_mmuext_op {
	unsigned int op;
	unsigned int reserved;
	unsigned long long arg;
};

/* One page, read and written by both sides. */
struct pv_shared_info {
	unsigned char upcall_pending;
	unsigned char upcall_mask;
	unsigned char pad[2];
	unsigned int pending_events; /* bit 0: timer */
	unsigned long long cr2;
};
#define PV_EVENT_TIMER 1u

/* All fields 64-bit, so that both widths see one layout. Virtual addresses unless named _pa. */
struct pv_start_info {
	unsigned int magic;
	unsigned int width;            /* 32 or 64 */
	unsigned long long nr_pages;   /* pseudo-physical frames 0 .. nr_pages-1 */
	unsigned long long free_pa;    /* first pseudo-physical address that the builder did not use (page aligned); all above is free */
	unsigned long long pt_base_pa; /* present top-level table */
	unsigned long long shared_info; /* struct pv_shared_info */
	unsigned long long p2m;        /* unsigned int[nr_pages] */
	unsigned long long m2p;        /* unsigned int[m2p_entries] */
	unsigned long long m2p_entries;
	unsigned long long mod_start_pa; /* the first module (the program archive) */
	unsigned long long mod_bytes;
	char cmdline[256];
};
#endif
