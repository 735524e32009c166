/* The regions of ringside_regions.def as enumerators: RS_NANOBENCH_SYSCALL, RS_REGION_FORKWAIT, ... */
#ifndef RINGSIDE_NANOBENCH_H
#define RINGSIDE_NANOBENCH_H

#define REGION(NAME, id, name, what)
#define NANOBENCH(NAME, id, name, what) RS_NANOBENCH_##NAME = id,
enum rs_nanobench {
#include "ringside_regions.def"
};
#undef NANOBENCH
#undef REGION

#define NANOBENCH(NAME, id, name, what)
#define REGION(NAME, id, name, what) RS_REGION_##NAME = id,
enum rs_region {
#include "ringside_regions.def"
};
#undef NANOBENCH
#undef REGION

#define RS_NANOBENCH_COUNT 7
#define RS_NANOBENCH_NOT_APPLICABLE (-38)

#endif
