/*
 * Bytes: a buffer that grows and a span that is read, both little-endian whatever the real computer is.
 *
 * Invariant: a span never reads past its end: the first attempt sets `bad`, and from then on every read gives 0. A buffer that found no memory sets `failed` and ignores
 * what follows. So neither needs a check at each call, only one at the end.
 */
#ifndef TRACES_BYTES_H
#define TRACES_BYTES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes { uint8_t *data; size_t count, capacity; bool failed; };
struct span { const uint8_t *at, *end; bool bad; };

/* Room for n more bytes; false: none. */
static inline bool bytes_reserve(struct bytes *b, size_t n)
{
	if (b->failed)
		return false;
	if (b->capacity - b->count >= n)
		return true;
	size_t want = (b->count + n) * 2 + 64;
	uint8_t *data = realloc(b->data, want);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->capacity = want;
	return true;
}

static inline void bytes_put(struct bytes *b, const void *from, size_t n)
{
	if (n && bytes_reserve(b, n)) {
		memcpy(b->data + b->count, from, n);
		b->count += n;
	}
}

static inline void bytes_u8(struct bytes *b, uint8_t v) { bytes_put(b, &v, 1); }

static inline void bytes_uint(struct bytes *b, uint64_t v, unsigned n)
{
	uint8_t raw[8];
	for (unsigned i = 0; i < n; i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	bytes_put(b, raw, n);
}

static inline void bytes_u16(struct bytes *b, uint16_t v) { bytes_uint(b, v, 2); }
static inline void bytes_u32(struct bytes *b, uint32_t v) { bytes_uint(b, v, 4); }
static inline void bytes_u64(struct bytes *b, uint64_t v) { bytes_uint(b, v, 8); }

/* LEB128: seven bits a byte, low first. */
static inline void bytes_varint(struct bytes *b, uint64_t v)
{
	if (!bytes_reserve(b, 10))
		return;
	while (v >= 0x80) {
		b->data[b->count++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	b->data[b->count++] = (uint8_t)v;
}

/* Signed differences modulo 2^64: small magnitudes of either sign become small numbers. */
static inline uint64_t zigzag(uint64_t difference) { return (difference << 1) ^ (0 - (difference >> 63)); }
static inline uint64_t unzigzag(uint64_t v) { return (v >> 1) ^ (0 - (v & 1)); }

/* A string of at most 65535 bytes with its length before it. */
static inline void bytes_string(struct bytes *b, const char *s)
{
	size_t n = strlen(s);
	bytes_u16(b, (uint16_t)(n > 65535 ? 65535 : n));
	bytes_put(b, s, n > 65535 ? 65535 : n);
}

static inline void bytes_destroy(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){ 0 };
}

static inline size_t span_left(const struct span *s) { return (size_t)(s->end - s->at); }

/* n bytes, or NULL (and bad). */
static inline const uint8_t *span_take(struct span *s, size_t n)
{
	if (s->bad || span_left(s) < n) {
		s->bad = true;
		return NULL;
	}
	const uint8_t *at = s->at;
	s->at += n;
	return at;
}

static inline uint64_t span_uint(struct span *s, unsigned n)
{
	const uint8_t *at = span_take(s, n);
	uint64_t v = 0;
	for (unsigned i = 0; at && i < n; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

static inline uint8_t span_u8(struct span *s) { return (uint8_t)span_uint(s, 1); }
static inline uint16_t span_u16(struct span *s) { return (uint16_t)span_uint(s, 2); }
static inline uint32_t span_u32(struct span *s) { return (uint32_t)span_uint(s, 4); }
static inline uint64_t span_u64(struct span *s) { return span_uint(s, 8); }

static inline uint64_t span_varint_slow(struct span *s)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (s->at == s->end)
			break;
		uint8_t byte = *s->at++;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	s->bad = true;
	return 0;
}

/* Up to eight bytes at once, without a branch that depends on how many there are. */
static inline uint64_t span_varint(struct span *s)
{
	uint64_t v;
	if (span_left(s) < 8 || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return span_varint_slow(s);
	memcpy(&v, s->at, 8);
	uint64_t last = ~v & 0x8080808080808080ull;
	if (!last)
		return span_varint_slow(s);
	last &= -last;
	s->at += (unsigned)__builtin_ctzll(last) / 8 + 1;
	v &= last - 1; /* below the last byte's top bit; now the groups of seven move together, in pairs, fours and eights */
	v = (v & 0x007f007f007f007full) | (v & 0x7f007f007f007f00ull) >> 1;
	v = (v & 0x00003fff00003fffull) | (v & 0x3fff00003fff0000ull) >> 2;
	return (v & 0x0fffffffull) | (v & 0x0fffffff00000000ull) >> 4;
}

/* Copies a string as bytes_string wrote it, cut to the room there is. */
static inline void span_string(struct span *s, char *to, size_t room)
{
	size_t n = span_u16(s);
	const uint8_t *at = span_take(s, n);
	if (!at)
		n = 0;
	if (n >= room)
		n = room - 1;
	if (n)
		memcpy(to, at, n);
	to[n] = 0;
}
#endif
