#include "uop.h"

const char *const uop_names[UOP_COUNT] = {
#define PLAIN(name, facts) [UOP_##name] = #name,
#define END(name, facts) [UOP_##name] = #name,
#define MEMORY(name, form) [UOP_##name##_##form] = #name "." #form,
#define LOAD(name, form, type, facts) MEMORY(name, form)
#define RMW(name, form, type, facts) MEMORY(name, form)
#define STORE(name, form, type, facts) MEMORY(name, form)
#define QUIET(name, form, type, facts) MEMORY(name, form)
#define LOADX(name, form, bytes, facts) MEMORY(name, form)
#define STOREX(name, form, bytes, facts) MEMORY(name, form)
#include "uops.def"
#undef MEMORY
};

const uint8_t uop_facts[UOP_COUNT] = {
#define PLAIN(name, facts) [UOP_##name] = (facts),
#define END(name, facts) [UOP_##name] = (facts),
#define MEMORY(name, form, facts) [UOP_##name##_##form] = (facts),
#define LOAD(name, form, type, facts) MEMORY(name, form, facts)
#define RMW(name, form, type, facts) MEMORY(name, form, facts)
#define STORE(name, form, type, facts) MEMORY(name, form, facts)
#define QUIET(name, form, type, facts) MEMORY(name, form, facts)
#define LOADX(name, form, bytes, facts) MEMORY(name, form, facts)
#define STOREX(name, form, bytes, facts) MEMORY(name, form, facts)
#include "uops.def"
#undef MEMORY
};
