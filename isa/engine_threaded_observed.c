/* The threaded engine's handlers with events and the VMM's block hook. */
#define OBSERVED 1
#define THREADED_SLOW hot
#define THREADED_TABLE uop_threaded_observed
#include "engine_threaded.h"
