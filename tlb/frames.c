#include "frames.h"
#include <stdlib.h>

bool frames_create(struct frames *f, uint64_t bytes)
{
	f->count = bytes >> 12;
	f->frame = calloc(f->count ? f->count : 1, sizeof *f->frame);
	return f->frame != NULL;
}

void frames_destroy(struct frames *f)
{
	free(f->frame);
	*f = (struct frames){ 0 };
}

void frames_grant(struct frames *f, uint64_t hpa, uint64_t bytes)
{
	for (uint64_t n = hpa >> 12; n < f->count && n < (hpa + bytes + 0xfff) >> 12; n++)
		f->frame[n].flags |= FRAME_GRANTED;
}

void frames_revoke(struct frames *f, uint64_t hpa, uint64_t bytes)
{
	for (uint64_t n = hpa >> 12; n < f->count && n < (hpa + bytes + 0xfff) >> 12; n++)
		f->frame[n].flags &= (uint8_t)~FRAME_GRANTED;
}
