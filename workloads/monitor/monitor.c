/*
 * The test monitor, width-independent part: builds one domain from the first module (kernel) and the second (archive), enters it, and serves it.
 * A violation of the contract ends the machine with exit code 99 and one line.
 */
#include "monitor.h"

#define DOMAIN_FRAMES 4096u       /* 16 MiB, from machine frame DOMAIN_FIRST on, in an order that is not the identity */
#define DOMAIN_FIRST 0x2000u
#define SCRAMBLE 0x155u
#define PT_SLOTS (1u << PT_BITS)
#define FLAG_IF 0x200u
#define FLAGS_USER 0xdd5u         /* CF PF AF ZF SF TF DF OF */
#define EXIT_VIOLATION 99u

struct multiboot {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
};
struct module {
	uint32_t start, end, string, reserved;
};

static struct {
	struct { uint8_t level, pinned; unsigned links, writable; } frames[MONITOR_FRAMES];
	struct { word_t handler; unsigned dpl; } traps[256];
	word_t callback[2], kernel_stack, base_root;
	struct pv_shared_info *shared;
	struct pv_start_info *start;
	frame_t next_pfn;
	bool idle;
} m;

void *memcpy(void *to, const void *from, size_t bytes)
{
	void *result = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
	return result;
}

void *memset(void *to, int value, size_t bytes)
{
	void *result = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
	return result;
}

static void say(const char *s)
{
	for (; *s; s++)
		port_write(0x3f8, (uint8_t)*s);
}

static void say_number(word_t n)
{
	char text[] = " 0000000000000000";
	for (unsigned i = 16; n; n >>= 4)
		text[i--] = "0123456789abcdef"[n & 15];
	say(text);
}

static _Noreturn void violation(const char *what, word_t a, word_t b)
{
	say("monitor: ");
	say(what);
	say_number(a);
	say_number(b);
	say("\n");
	port_write(0xf4, EXIT_VIOLATION);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void *machine_pointer(word_t machine_frame)
{
	return (void *)(monitor_base() + (machine_frame << 12));
}

static word_t machine_of(frame_t pfn)
{
	return DOMAIN_FIRST + (pfn ^ SCRAMBLE);
}

static bool is_domains(word_t mfn)
{
	return mfn >= DOMAIN_FIRST && mfn < DOMAIN_FIRST + DOMAIN_FRAMES;
}

/* ---- page types ---- */

static void table_put(word_t mfn);
static void table_get(word_t mfn, unsigned level);

static void entry_get(pte_t entry, unsigned level, unsigned index)
{
	word_t target = (word_t)((entry & PTE_ADDRESS) >> 12);
	if (!(entry & PTE_P) || monitor_owns_slot(level, index, entry))
		return;
	if (!is_domains(target))
		violation("entry maps a foreign frame", (word_t)entry, level);
	if (level > 1)
		return table_get(target, level - 1);
	if (!(entry & PTE_RW))
		return;
	if (m.frames[target].level)
		violation("writable mapping of a table", (word_t)entry, m.frames[target].level);
	m.frames[target].writable++;
}

static void entry_put(pte_t entry, unsigned level, unsigned index)
{
	word_t target = (word_t)((entry & PTE_ADDRESS) >> 12);
	if (!(entry & PTE_P) || monitor_owns_slot(level, index, entry))
		return;
	if (level > 1)
		table_put(target);
	else if (entry & PTE_RW)
		m.frames[target].writable--;
}

static void table_get(word_t mfn, unsigned level)
{
	if (!is_domains(mfn))
		violation("foreign table", mfn, level);
	if (m.frames[mfn].level == level) {
		m.frames[mfn].links++;
		return;
	}
	if (m.frames[mfn].level || m.frames[mfn].writable)
		violation("frame becomes a table of a level while it is another or is mapped writable", mfn, m.frames[mfn].writable);
	m.frames[mfn].level = (uint8_t)level;
	m.frames[mfn].links = 1;
	for (unsigned i = 0; i < PT_SLOTS; i++)
		entry_get(((pte_t *)machine_pointer(mfn))[i], level, i);
}

static void table_put(word_t mfn)
{
	unsigned level = m.frames[mfn].level;
	if (--m.frames[mfn].links)
		return;
	m.frames[mfn].level = 0;
	for (unsigned i = 0; i < PT_SLOTS; i++)
		entry_put(((pte_t *)machine_pointer(mfn))[i], level, i);
}

static void update(uint64_t at, uint64_t value)
{
	word_t mfn = (word_t)(at >> 12);
	unsigned index = (unsigned)(at & 4095) / sizeof(pte_t);
	pte_t *entry = (pte_t *)machine_pointer(mfn) + index;
	if (!is_domains(mfn) || !m.frames[mfn].level || at % sizeof(pte_t))
		violation("update of what is no table", (word_t)at, (word_t)value);
	pte_t old = *entry;
	entry_get((pte_t)value, m.frames[mfn].level, index);
	*entry = (pte_t)value;
	entry_put(old, m.frames[mfn].level, index);
}

static pte_t *leaf_find(word_t va)
{
	word_t mfn = m.base_root;
	for (unsigned level = PT_LEVELS; level; level--) {
		pte_t *entry = (pte_t *)machine_pointer(mfn) + ((va >> (12 + PT_BITS * (level - 1))) & (PT_SLOTS - 1));
		if (level == 1)
			return entry;
		if (!(*entry & PTE_P))
			violation("no table for", va, level);
		mfn = (word_t)((*entry & PTE_ADDRESS) >> 12);
	}
	return NULL;
}

/* ---- hypercalls ---- */

static void root_set(word_t mfn)
{
	table_get(mfn, PT_LEVELS);
	cr3_write(mfn << 12);
	if (m.base_root)
		table_put(m.base_root);
	m.base_root = mfn;
}

static void ext_op(const struct pv_mmuext_op *op)
{
	word_t arg = (word_t)op->arg;
	switch (op->op) {
	case PV_MMUEXT_NEW_BASEPTR:
		return root_set(arg);
	case PV_MMUEXT_INVLPG:
		__asm__ volatile("invlpg (%0)" : : "r"(arg) : "memory");
		return;
	case PV_MMUEXT_FLUSH:
		return cr3_write(cr3_read());
	case PV_MMUEXT_PIN:
		table_get(arg, PT_LEVELS);
		if (m.frames[arg].pinned++)
			violation("pinned twice", arg, 0);
		return;
	case PV_MMUEXT_UNPIN:
		if (!is_domains(arg) || !m.frames[arg].pinned--)
			violation("unpinned what was not pinned", arg, 0);
		return table_put(arg);
	}
	violation("unknown operation", op->op, arg);
}

static void pv_iret(struct trap_frame *f)
{
	const word_t *w = (const word_t *)f->sp;
	bool long_frame = PT_LEVELS == 4 || (w[2] & 3) == 3;
	if ((w[2] & 3) != 1 && (w[2] & 3) != 3)
		violation("IRET to ring", w[2], w[1]);
	monitor_result_set(f, (long)w[0]);
	f->ip = w[1];
	f->cs = w[2];
	f->flags = (w[3] & FLAGS_USER) | FLAG_IF | 2;
	m.shared->upcall_mask = !(w[3] & FLAG_IF);
	f->ss = long_frame ? w[5] : f->ss;
	f->sp = long_frame ? w[4] : f->sp + 4 * sizeof(word_t);
}

static long sched_op(word_t op, word_t argument)
{
	if (op == PV_SCHED_SHUTDOWN) {
		port_write(0xf4, (uint8_t)argument);
		violation("still alive", op, argument);
	}
	if (op == PV_SCHED_BLOCK) {
		m.shared->upcall_mask = 0;
		m.idle = true;
		while (!((volatile struct pv_shared_info *)m.shared)->upcall_pending)
			__asm__ volatile("sti; hlt; cli" : : : "memory");
		m.idle = false;
	}
	return 0;
}

static void timer_set(word_t hz)
{
	unsigned divisor = hz ? 1193182u / (unsigned)hz : 0;
	port_write(0x43, 0x34);
	port_write(0x40, (uint8_t)divisor);
	port_write(0x40, (uint8_t)(divisor >> 8));
	port_write(0x21, hz ? 0xfe : 0xff);
}

static long trap_table(const struct pv_trap *t, word_t count)
{
	for (; count--; t++) {
		if (t->vector > 255 || t->vector == 0x82)
			return -22;
		m.traps[t->vector].handler = (word_t)t->handler;
		m.traps[t->vector].dpl = t->dpl;
	}
	return 0;
}

static long hypercall(const word_t a[4])
{
	switch (a[0]) {
	case PV_SET_TRAP_TABLE:
		return trap_table((const struct pv_trap *)a[1], a[2]);
	case PV_MMU_UPDATE:
		for (word_t i = 0; i < a[2]; i++)
			update(((const struct pv_mmu_update *)a[1])[i].ptr, ((const struct pv_mmu_update *)a[1])[i].val);
		return a[2] && a[2] <= 2048 ? (long)a[2] : -22;
	case PV_MMUEXT_OP:
		for (word_t i = 0; i < a[2]; i++)
			ext_op((const struct pv_mmuext_op *)a[1] + i);
		return (long)a[2];
	case PV_STACK_SWITCH:
		m.kernel_stack = a[1];
		return 0;
	case PV_SET_CALLBACK:
		return a[1] < 2 ? (m.callback[a[1]] = a[2], 0) : -22;
	case PV_SCHED_OP:
		return sched_op(a[1], a[2]);
	case PV_SET_TIMER:
		return timer_set(a[1]), 0;
	case PV_CONSOLE_WRITE:
		for (word_t i = 0; i < a[2]; i++)
			port_write(0x3f8, ((const uint8_t *)a[1])[i]);
		return (long)a[2];
	case PV_FORCE_EVENT:
		return 0;
	case PV_UPDATE_VA: {
		pte_t *leaf = leaf_find(a[1]);
		update((word_t)leaf - monitor_base(), a[2]);
		__asm__ volatile("invlpg (%0)" : : "r"(a[1]) : "memory");
		return 0;
	}
	case PV_SET_SEGMENT_BASE:
		return monitor_segment_base_set(a[1], a[2]), 0;
	}
	violation("unknown hypercall", a[0], a[1]);
}

/* ---- traps ---- */

/* Makes the guest continue at `handler` with the frame that hardware would have pushed. */
static void bounce(struct trap_frame *f, word_t handler, bool with_error)
{
	bool from_user = (f->cs & 3) == 3;
	word_t *sp = (word_t *)(from_user ? m.kernel_stack : f->sp);
	word_t flags = (f->flags & ~(word_t)FLAG_IF) | (m.shared->upcall_mask ? 0 : FLAG_IF);
	if (!handler)
		violation("the guest has no handler", f->vector, f->ip);
	if (PT_LEVELS == 4)
		sp = (word_t *)((word_t)sp & ~(word_t)15);
	if (PT_LEVELS == 4 || from_user) {
		*--sp = f->ss;
		*--sp = f->sp;
	}
	*--sp = flags;
	*--sp = f->cs;
	*--sp = f->ip;
	if (with_error)
		*--sp = f->error;
	f->sp = (word_t)sp;
	f->ss = PV_KDS;
	f->cs = PV_KCS;
	f->ip = handler;
	f->flags = FLAG_IF | 2;
	m.shared->upcall_mask = 1;
}

static bool has_error(word_t vector)
{
	return vector == 8 || vector == 17 || (vector >= 10 && vector <= 14);
}

/* The two privileged instructions that the interface emulates, in the encodings that the kernels use: IN AL, imm8 and MOV CR8, register. */
static bool privileged_emulate(struct trap_frame *f)
{
	const uint8_t *code = (const uint8_t *)f->ip;
	word_t a[4];
	if (f->vector != 13 || (f->cs & 3) != 1)
		return false;
	if (code[0] == 0xe4) {
		monitor_arguments(f, a);
		monitor_result_set(f, (long)((a[0] & ~(word_t)0xff) | port_read(code[1])));
		f->ip += 2;
		return true;
	}
	if (PT_LEVELS == 4 && (code[0] & 0xfe) == 0x44 && code[1] == 0x0f && code[2] == 0x22) {
		f->ip += 4;
		return true;
	}
	return false;
}

void monitor_trap(struct trap_frame *f)
{
	word_t a[4];
	if (!(f->cs & 3) && !m.idle)
		violation("trap in the monitor: vector, address", f->vector, f->ip);
	if (f->vector == 0x82) {
		monitor_arguments(f, a);
		if (a[0] == PV_IRET)
			pv_iret(f);
		else
			monitor_result_set(f, hypercall(a));
	} else if (f->vector == 0x20) {
		port_write(0x20, 0x20);
		m.shared->pending_events |= PV_EVENT_TIMER;
		m.shared->upcall_pending = 1;
	} else if (f->vector == 0x80 && PT_LEVELS == 4) {
		bounce(f, m.callback[PV_CALLBACK_SYSCALL], false);
	} else if (!privileged_emulate(f)) {
		word_t cr2;
		__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
		if (f->vector == 14)
			m.shared->cr2 = cr2;
		bounce(f, m.traps[f->vector].handler, has_error(f->vector));
	}
	if (m.shared->upcall_pending && !m.shared->upcall_mask && f->cs & 3)
		bounce(f, m.callback[PV_CALLBACK_EVENT], false);
}

/* ---- domain builder ---- */

static void *domain_pointer(word_t pa)
{
	return (char *)machine_pointer(machine_of((frame_t)(pa >> 12))) + (pa & 4095);
}

static void domain_store(word_t pa, const void *from, word_t bytes)
{
	for (const uint8_t *p = from; bytes--; pa++, p++)
		*(uint8_t *)domain_pointer(pa) = *p;
}

/* The entry of va at `level`, tables above it made as needed. */
static pte_t *builder_entry(frame_t root, word_t va, unsigned level)
{
	frame_t table = root;
	for (unsigned l = PT_LEVELS;; l--) {
		pte_t *entry = (pte_t *)domain_pointer((word_t)table << 12) + ((va >> (12 + PT_BITS * (l - 1))) & (PT_SLOTS - 1));
		if (l == level)
			return entry;
		if (!(*entry & PTE_P)) {
			frame_t below = m.next_pfn++;
			*entry = machine_of(below) << 12 | PTE_P | PTE_RW | PTE_US;
			monitor_fill_slots(l - 1, domain_pointer((word_t)below << 12));
		}
		table = (frame_t)((((*entry & PTE_ADDRESS) >> 12) - DOMAIN_FIRST) ^ SCRAMBLE);
	}
}

static frame_t domain_build_tables(void)
{
	frame_t first = m.next_pfn, root = m.next_pfn++;
	monitor_fill_slots(PT_LEVELS, domain_pointer((word_t)root << 12));
	for (frame_t i = 0; i < DOMAIN_FRAMES; i++)
		builder_entry(root, KBASE + ((word_t)i << 12), 1);
	for (frame_t i = 0; i < DOMAIN_FRAMES; i++)
		*builder_entry(root, KBASE + ((word_t)i << 12), 1) = machine_of(i) << 12 | PTE_P | (i >= first && i < m.next_pfn ? 0 : PTE_RW);
	return root;
}

static word_t domain_load(const uint8_t *file)
{
	struct elf_header h;
	word_t end = 0;
	memcpy(&h, file, sizeof h);
	for (unsigned i = 0; i < h.phnum; i++) {
		struct elf_segment g;
		memcpy(&g, file + h.phoff + i * sizeof g, sizeof g);
		if (g.type != 1)
			continue;
		domain_store(g.paddr, file + g.offset, g.filesz);
		if (g.paddr + g.memsz > end)
			end = g.paddr + g.memsz;
	}
	m.next_pfn = (frame_t)((end + 4095) >> 12);
	return h.entry;
}

/* Reserves pseudo-physical pages; returns their address. */
static word_t domain_reserve(word_t bytes)
{
	word_t at = (word_t)m.next_pfn << 12;
	m.next_pfn += (frame_t)((bytes + 4095) >> 12);
	return at;
}

static void domain_fill_maps(word_t p2m, word_t m2p)
{
	for (word_t i = 0; i < DOMAIN_FRAMES; i++)
		*(unsigned *)domain_pointer(p2m + 4 * i) = (unsigned)machine_of((frame_t)i);
	for (word_t i = 0; i < MONITOR_FRAMES; i++)
		*(unsigned *)domain_pointer(m2p + 4 * i) = is_domains(i) ? (unsigned)((i - DOMAIN_FIRST) ^ SCRAMBLE) : 0xffffffffu;
}

static void pic_init(void)
{
	static const uint8_t sequence[][2] = { { 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, 0x20 }, { 0xa1, 0x28 }, { 0x21, 4 }, { 0xa1, 2 },
					       { 0x21, 1 }, { 0xa1, 1 }, { 0x21, 0xff }, { 0xa1, 0xff } };
	for (unsigned i = 0; i < sizeof sequence / sizeof *sequence; i++)
		port_write(sequence[i][0], sequence[i][1]);
}

void monitor_enter(struct trap_frame *f);
void monitor_main(uint32_t information, word_t stack_top);

void monitor_main(uint32_t information, word_t stack_top)
{
	const struct multiboot *mb = (void *)(monitor_base() + information);
	const struct module *modules = (void *)(monitor_base() + mb->mods_addr);
	const char *cmdline = (const char *)(monitor_base() + mb->cmdline);
	static struct trap_frame f;
	monitor_descriptors_init(stack_top);
	pic_init();
	word_t entry = domain_load((void *)(monitor_base() + modules[0].start));
	word_t archive = domain_reserve(modules[1].end - modules[1].start);
	domain_store(archive, (void *)(monitor_base() + modules[1].start), modules[1].end - modules[1].start);
	word_t start = domain_reserve(sizeof *m.start), shared = domain_reserve(4096);
	word_t p2m = domain_reserve(4 * DOMAIN_FRAMES), m2p = domain_reserve(4 * MONITOR_FRAMES);
	domain_fill_maps(p2m, m2p);
	frame_t root = domain_build_tables();
	m.shared = domain_pointer(shared);
	m.shared->upcall_mask = 1;
	m.start = domain_pointer(start);
	*m.start = (struct pv_start_info){ .magic = PV_MAGIC, .width = 8 * sizeof(word_t), .nr_pages = DOMAIN_FRAMES, .free_pa = (word_t)m.next_pfn << 12,
		.pt_base_pa = (word_t)root << 12, .shared_info = KBASE + shared, .p2m = KBASE + p2m, .m2p = KBASE + m2p, .m2p_entries = MONITOR_FRAMES,
		.mod_start_pa = archive, .mod_bytes = modules[1].end - modules[1].start };
	for (unsigned i = 0; cmdline[i] && i < sizeof m.start->cmdline - 1; i++)
		m.start->cmdline[i] = cmdline[i];
	root_set(machine_of(root));
	f = (struct trap_frame){ .ip = entry, .cs = PV_KCS, .flags = FLAG_IF | 2, .ss = PV_KDS };
	monitor_start_info_set(&f, KBASE + start);
	monitor_enter(&f);
}
