/* Console output and the handful of memory functions that gcc expects. Invariant: prints nothing that depends on time. */
#include "kernel.h"
#include <stdarg.h>

struct line {
	char bytes[128];
	unsigned count;
};

static void line_flush(struct line *l)
{
	arch_console_write(l->bytes, l->count);
	l->count = 0;
}

static void line_put(struct line *l, char c)
{
	if (l->count == sizeof l->bytes)
		line_flush(l);
	l->bytes[l->count++] = c;
}

static void line_put_number(struct line *l, word_t value, unsigned base)
{
	char digits[24];
	unsigned n = 0;
	do
		digits[n++] = "0123456789abcdef"[value % base];
	while ((value /= base));
	while (n)
		line_put(l, digits[--n]);
}

static word_t line_number(va_list *args, bool wide)
{
	return wide ? va_arg(*args, word_t) : va_arg(*args, unsigned);
}

static void line_format(struct line *l, const char *format, va_list *args)
{
	for (; *format; format++) {
		if (*format != '%') {
			line_put(l, *format);
			continue;
		}
		bool wide = *++format == 'l';
		format += wide;
		if (*format == 's') {
			for (const char *s = va_arg(*args, const char *); *s; s++)
				line_put(l, *s);
		} else if (*format == 'd') {
			int value = va_arg(*args, int);
			if (value < 0)
				line_put(l, '-');
			line_put_number(l, value < 0 ? 0u - (unsigned)value : (unsigned)value, 10);
		} else {
			line_put_number(l, line_number(args, wide), *format == 'x' ? 16 : 10);
		}
	}
}

void print(const char *format, ...)
{
	struct line l = { .count = 0 };
	va_list args;
	va_start(args, format);
	line_format(&l, format, &args);
	va_end(args);
	line_flush(&l);
}

_Noreturn void panic(const char *format, ...)
{
	struct line l = { .count = 0 };
	va_list args;
	arch_irq_disable();
	print("ringside: kernel panic: ");
	va_start(args, format);
	line_format(&l, format, &args);
	va_end(args);
	line_put(&l, '\n');
	line_flush(&l);
	arch_shutdown(126);
}

void *memset(void *to, int value, size_t bytes)
{
	void *result = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
	return result;
}

void *memcpy(void *to, const void *from, size_t bytes)
{
	void *result = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
	return result;
}

int string_compare(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (unsigned char)*a - (unsigned char)*b;
}
