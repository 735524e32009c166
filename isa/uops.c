#include "uop.h"

const char *const uop_names[UOP_COUNT] = {
#define PLAIN(name, facts) [UOP_##name] = #name,
#define END(name, facts) [UOP_##name] = #name,
#define MEMORY(name, form, facts) [UOP_##name##_##form] = #name "." #form,
#include "uops_alike.def"
};

const uint8_t uop_facts[UOP_COUNT] = {
#define PLAIN(name, facts) [UOP_##name] = (facts),
#define END(name, facts) [UOP_##name] = (facts),
#define MEMORY(name, form, facts) [UOP_##name##_##form] = (facts),
#include "uops_alike.def"
};
