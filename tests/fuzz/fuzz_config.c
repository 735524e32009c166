/* Fuzzes configurations: what is accepted must write out, read back and be the same. */
#include "cli/config.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s = { 0 }, t = { 0 };
	struct config c, back;
	char error[1200];
	config_default(&c);
	config_default(&back);
	if (settings_parse(&s, (const char *)data, size, "fuzz", error, sizeof error) && config_apply(&c, &s, error, sizeof error)) {
		char *text = config_text(&c);
		if (!settings_parse(&t, text, strlen(text), "again", error, sizeof error) || !config_apply(&back, &t, error, sizeof error))
			abort();
		char *again = config_text(&back);
		if (strcmp(text, again))
			abort();
		free(text);
		free(again);
	}
	settings_destroy(&s);
	settings_destroy(&t);
	return 0;
}
