/* What the guest writes to its serial port. */
#include "machine_private.h"
#include <stdlib.h>

void console_put(struct console *c, uint8_t byte)
{
	c->hash = (c->hash ^ byte) * 0x100000001b3ull; /* FNV-1a */
	if (c->echo) {
		fputc(byte, c->echo);
		if (byte == '\n')
			fflush(c->echo);
	}
	if (c->count == c->capacity) {
		size_t wanted = c->capacity ? 2 * c->capacity : 4096;
		char *bytes = wanted <= CONSOLE_KEPT ? realloc(c->bytes, wanted + 1) : NULL;
		if (!bytes)
			return;
		c->bytes = bytes;
		c->capacity = wanted;
	}
	c->bytes[c->count++] = (char)byte;
	c->bytes[c->count] = 0;
}

void console_destroy(struct console *c)
{
	free(c->bytes);
	c->bytes = NULL;
}

const char *machine_console(const struct machine *m, size_t *bytes)
{
	if (bytes)
		*bytes = m->console.count;
	return m->console.bytes ? m->console.bytes : "";
}

void machine_set_console_file(struct machine *m, FILE *f)
{
	m->console.echo = f;
}
