/* What `ringside run --lockstep` shows. */
#include "lockstep_print.h"
#include <Zydis/Zydis.h>
#include <inttypes.h>

struct listing { unsigned count; ZydisDisassembledInstruction insn[BLOCK_MAX_INSNS]; bool marked[BLOCK_MAX_INSNS]; };

static void listing_make(struct listing *l, const struct lockstep_report *r)
{
	const ZydisMachineMode mode = r->mode == 8 ? ZYDIS_MACHINE_MODE_LONG_64 : r->mode == 4 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16;
	*l = (struct listing){ 0 };
	for (unsigned at = 0; at < r->bytes && l->count < BLOCK_MAX_INSNS; at += l->insn[l->count++].info.length)
		if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, r->pc + at, r->code + at, r->bytes - at, &l->insn[l->count])))
			return;
}

static bool operand_is(const ZydisDecodedOperand *o, const char *name)
{
	if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
		return !strncmp(name, "memory", 6);
	if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, o->reg.value);
	const char *as = ZydisRegisterGetString(o->reg.value), *all = ZydisRegisterGetString(whole);
	return (as && !strcmp(as, name)) || (all && !strcmp(all, name));
}

static bool insn_writes(const ZydisDisassembledInstruction *i, const char *name)
{
	const ZydisAccessedFlags *f = i->info.cpu_flags;
	if (!strcmp(name, "eflags"))
		return f && (f->modified | f->set_0 | f->set_1 | f->undefined);
	for (unsigned k = 0; k < i->info.operand_count; k++)
		if ((i->operands[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) && operand_is(&i->operands[k], name))
			return true;
	return false;
}

/* Of each thing that differs, the last instruction of the block that writes it. */
static void listing_mark(struct listing *l, const struct lockstep_report *r)
{
	for (unsigned k = 0; k < r->lines; k++)
		for (unsigned i = l->count; i-- > 0;)
			if (insn_writes(&l->insn[i], r->line[k].name)) {
				l->marked[i] = true;
				break;
			}
}

static void code_print(FILE *out, const struct lockstep_report *r)
{
	struct listing l;
	listing_make(&l, r);
	listing_mark(&l, r);
	fprintf(out, "the last block that the reference ran (>: the last to write what differs):\n");
	for (unsigned i = 0; i < l.count; i++)
		fprintf(out, "%c %12" PRIx64 "  %s\n", l.marked[i] ? '>' : ' ', l.insn[i].runtime_address, l.insn[i].text);
}

static void agreement_print(FILE *out, const struct lockstep_report *r, const struct engine *const engine[])
{
	fprintf(out, "%s", engine[0]->name);
	for (unsigned i = 1; engine[i]; i++)
		fprintf(out, "%s %s", engine[i + 1] ? "," : " and", engine[i]->name);
	fprintf(out, " agree: %" PRIu64 " instructions, compared at each of %" PRIu64 " blocks and after %" PRIu64 " turns of many, and all memory and statistics\n", r->instructions, r->blocks, r->turns);
}

void lockstep_print(FILE *out, const struct lockstep_report *r, const struct engine *const engine[])
{
	if (!r->differ) {
		agreement_print(out, r, engine);
		return;
	}
	fprintf(out, "%s differs from %s at instruction %" PRIu64 "%s\n", r->tested->name, engine[0]->name, r->boundary, r->chained ? " (of its runs over many blocks)" : "");
	if (r->bytes)
		code_print(out, r);
	fprintf(out, "%-24s %-36s %-36s\n", "", engine[0]->name, r->tested->name);
	for (unsigned i = 0; i < r->lines; i++)
		fprintf(out, "%-24s %-36s %-36s\n", r->line[i].name, r->line[i].reference, r->line[i].tested);
}
