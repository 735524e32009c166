/* What `ringside run --lockstep` shows. */
#include "lockstep_print.h"
#include <Zydis/Zydis.h>
#include <inttypes.h>

static void code_print(FILE *out, const struct lockstep_report *r)
{
	ZydisMachineMode mode = r->mode == 8 ? ZYDIS_MACHINE_MODE_LONG_64 : r->mode == 4 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16;
	ZydisDisassembledInstruction insn;
	for (unsigned at = 0; at < r->bytes; at += insn.info.length) {
		if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, r->pc + at, r->code + at, r->bytes - at, &insn)))
			return;
		fprintf(out, "  %12" PRIx64 "  %s\n", r->pc + at, insn.text);
	}
}

void lockstep_print(FILE *out, const struct lockstep_report *r, const char *reference, const char *tested)
{
	if (!r->differ) {
		fprintf(out, "%s and %s agree: %" PRIu64 " instructions, compared %" PRIu64 " times, and all memory at the end\n", reference, tested, r->instructions, r->turns);
		return;
	}
	fprintf(out, "%s and %s agree up to instruction %" PRIu64 ", and differ at %" PRIu64 "\n", reference, tested, r->instructions, r->boundary);
	if (r->bytes) {
		fprintf(out, "the last block that the reference ran:\n");
		code_print(out, r);
	}
	fprintf(out, "%-16s %-36s %-36s\n", "", reference, tested);
	for (unsigned i = 0; i < r->lines; i++)
		fprintf(out, "%-16s %-36s %-36s\n", r->line[i].name, r->line[i].reference, r->line[i].tested);
}
