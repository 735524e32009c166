/*
 * The kernel's first C function, and its command line.
 *
 * `[option ...] init=PROGRAM [argument ...]`; the option `notimer` may stand anywhere. A word before init= that is not an
 * option is skipped (some loaders put the kernel's file name there).
 */
#include "kernel.h"
#include "ringside_syscall.h"

struct command_line {
	char arguments[512]; /* program name and arguments, each with its NUL */
	word_t bytes;
	unsigned argc;
	bool timer;
};

static void command_line_add(struct command_line *c, const char *word, unsigned length)
{
	if (c->argc == RS_ARGS_MAX)
		panic("more than %d arguments", RS_ARGS_MAX);
	memcpy(c->arguments + c->bytes, word, length);
	c->bytes += length;
	c->arguments[c->bytes++] = 0;
	c->argc++;
}

static bool word_is(const char *word, unsigned length, const char *expected, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		if (i >= length || word[i] != expected[i])
			return false;
	return true;
}

static void command_line_parse(struct command_line *c, const char *text)
{
	memset(c, 0, sizeof *c);
	c->timer = true;
	while (*text) {
		const char *word = text;
		while (*text && *text != ' ')
			text++;
		unsigned length = (unsigned)(text - word);
		if (length == 7 && word_is(word, length, "notimer", 7))
			c->timer = false;
		else if (c->argc == 0 && word_is(word, length, "init=", 5) && length > 5)
			command_line_add(c, word + 5, length - 5);
		else if (c->argc > 0 && length > 0)
			command_line_add(c, word, length);
		while (*text == ' ')
			text++;
	}
}

/* Called on the boot stack by boot.S or entry_pv.S with what the loader passed. */
_Noreturn void kernel_main(word_t loader)
{
	static struct boot_info info;
	static struct command_line command;
	arch_init(&info, loader);
	frame_init(info.frames, info.first_free);
	archive_init(info.archive, info.archive_bytes);
	command_line_parse(&command, info.cmdline);
	if (!command.argc)
		panic("no init=PROGRAM on the command line");
	if (command.timer)
		process_timer_enable();
	process_start_init(command.arguments, command.arguments, command.bytes, command.argc);
	panic("the first program did not start");
}
