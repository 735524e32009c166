/* The presets that presets.def lists. Invariant: a preset is constant; a run works on a copy. */
#ifndef UARCH_PRESET_H
#define UARCH_PRESET_H
#include "timing.h"
#define PRESET(id) extern const struct preset preset_##id;
#include "presets.def"
#undef PRESET
#endif
