/* What a bench found, as tables and as one JSON object. */
#include "bench.h"

/* ---- tables ---- */

static void number_print(double v, int width, int digits)
{
	isfinite(v) ? printf(" %*.*f", width, digits, v) : printf(" %*s", width, "-");
}

/* A line of names. Each contestant that takes part, or whom it is against. */
static void heads_print(const struct bench *b, const char *title, bool bases)
{
	printf("%-14s", title);
	for (unsigned c = 0; c < CONTESTANTS; c++)
		if (bench_takes_part(b, c))
			printf(" %11s", bench_contestant_name(bases ? bench_contestant_base(c, b->peers) : c));
	printf("\n");
}

typedef double figure(const struct bench *b, unsigned k, enum bench_contestant c, int base);

static void rows_print(const struct bench *b, figure *f, int base, int digits)
{
	for (unsigned k = 0; k < bench_kernel_count; k++) {
		if (!bench_counts(b, k))
			continue;
		printf("%-14s", bench_kernels[k].name);
		for (unsigned c = 0; c < CONTESTANTS; c++)
			if (bench_takes_part(b, c))
				number_print(f(b, k, c, base), 11, digits);
		printf("\n");
	}
}

/* base < 0: each contestant's own. */
static enum bench_contestant base_of(const struct bench *b, enum bench_contestant c, int base) { return base < 0 ? bench_contestant_base(c, b->peers) : (enum bench_contestant)base; }
static double figure_speed(const struct bench *b, unsigned k, enum bench_contestant c, int base) { return (void)base, bench_speed_of(b, k, c); }
static double figure_ratio(const struct bench *b, unsigned k, enum bench_contestant c, int base) { return bench_ratio(b, k, c, base_of(b, c, base)); }

static void ratios_print(const struct bench *b, int base)
{
	printf("times as fast as %s\n", base < 0 ? "whom each is held against" : bench_contestant_what((enum bench_contestant)base));
	heads_print(b, "kernel", false);
	if (base < 0)
		heads_print(b, "  against", true);
	rows_print(b, figure_ratio, base, 2);
	printf("%-14s", "geometric mean");
	for (unsigned c = 0; c < CONTESTANTS; c++)
		if (bench_takes_part(b, c))
			number_print(bench_geometric_mean(b, c, base_of(b, c, base)), 11, 2);
	printf("\n\n");
}

static void speeds_print(const struct bench *b)
{
	printf("guest speed, million instructions a second of user CPU time (%s%u, start-up subtracted)\n", b->runs > 1 ? "median of " : "runs: ", b->runs);
	heads_print(b, "kernel", false);
	rows_print(b, figure_speed, -1, 1);
	printf("\n");
	ratios_print(b, -1);
	if (b->peers) {
		ratios_print(b, CONTEST_BOCHS);
		ratios_print(b, CONTEST_QEMU);
	}
}

static void limits_print(const struct bench *b)
{
	printf("what limits the interpreter's fixed model, nanoseconds an instruction\n%-10s %10s %16s %16s   %s\n", "kernel", "engine", "+ events, TLBs", "+ caches, DRAM", "most time");
	for (unsigned k = 0; k < bench_kernel_count; k++) {
		if (!bench_counts(b, k))
			continue;
		struct bench_limits l = bench_limits_of(b, k);
		printf("%-10s", bench_kernels[k].name);
		number_print(l.engine, 10, 2);
		number_print(l.tlb, 16, 2);
		number_print(l.memory, 16, 2);
		printf("   %s\n", bench_limit_name(l));
	}
	printf("\n");
}

static void legend_print(const struct bench *b)
{
	for (unsigned c = 0; c < CONTESTANTS; c++) {
		if (!bench_takes_part(b, c))
			continue;
		printf("%-11s %s: ", bench_contestant_name(c), bench_contestant_what(c));
		bench_contestant_present(c) ? printf("%s\n", b->version[c]) : printf("NOT THERE; apt-get install %s\n", bench_contestant_package(c));
	}
	printf("\n");
}

static void aims_print(const struct bench *b)
{
	unsigned unmeasured = 0;
	printf("%-63s %14s %9s   %-12s %s\n", "aim", "", "measured", "", "kernel that decides");
	for (unsigned i = 0; i < bench_aim_count(); i++) {
		struct bench_aim a = bench_aim_of(b, i);
		int met = bench_aim_met(&a);
		char bound[24];
		snprintf(bound, sizeof bound, "%s%g", a.at_most ? "<= " : ">= ", a.aim);
		printf("%-63s %14s", a.name, bound);
		number_print(a.value, 9, 2);
		printf("   %-12s %s", !isfinite(a.value) ? "not measured" : met < 0 ? "incomplete" : met ? "met" : "NOT MET", a.kernel);
		if (isfinite(a.worst) && fabs(a.worst - a.value) > 0)
			printf(" (%.2f)", a.worst);
		printf("\n");
		unmeasured += met < 0;
	}
	if (unmeasured)
		printf("\n%u not measured, or not on every kernel: %s\n", unmeasured, b->peers ? "their kernel was not chosen, or their peer is not there" : "they need their kernel, and --peers where they are against QEMU or Bochs");
}

void bench_print(const struct bench *b)
{
	speeds_print(b);
	limits_print(b);
	legend_print(b);
	aims_print(b);
}

/* ---- JSON ---- */

static void json_number(const char *key, double v, const char *end)
{
	isfinite(v) ? printf("\"%s\": %.6g%s", key, v, end) : printf("\"%s\": null%s", key, end);
}

static void json_contestant(const struct bench *b, unsigned k, enum bench_contestant c)
{
	enum bench_contestant base = bench_contestant_base(c, b->peers);
	printf("\"%s\": {\"instructions\": %.0f, ", bench_contestant_name(c), bench_kernels[k].instructions);
	json_number("seconds", b->seconds[k][c], ", ");
	json_number("million_per_second", bench_speed_of(b, k, c), ", ");
	printf("\"against\": \"%s\", ", bench_contestant_name(base));
	json_number("ratio", bench_ratio(b, k, c, base), ", ");
	json_number("ratio_to_bochs", bench_ratio(b, k, c, CONTEST_BOCHS), ", ");
	json_number("ratio_to_qemu", bench_ratio(b, k, c, CONTEST_QEMU), "}");
}

static void json_kernel(const struct bench *b, unsigned k)
{
	struct bench_limits l = bench_limits_of(b, k);
	const char *comma = "";
	printf("    {\"name\": \"%s\", \"what\": \"%s\", \"instructions\": %.0f, \"contestants\": {", bench_kernels[k].name, bench_kernels[k].what, bench_kernels[k].instructions);
	for (unsigned c = 0; c < CONTESTANTS; c++)
		if (bench_takes_part(b, c)) {
			printf("%s\n      ", comma);
			json_contestant(b, k, c);
			comma = ",";
		}
	printf("}, \"limits\": {");
	json_number("engine_ns", l.engine, ", ");
	json_number("events_tlbs_ns", l.tlb, ", ");
	json_number("caches_dram_ns", l.memory, ", ");
	printf("\"most\": \"%s\"}}", bench_limit_name(l));
}

static void json_means(const struct bench *b)
{
	const char *comma = "";
	printf("  \"geometric_means\": {");
	for (unsigned c = 0; c < CONTESTANTS; c++) {
		enum bench_contestant base = bench_contestant_base(c, b->peers);
		if (!bench_takes_part(b, c))
			continue;
		printf("%s\n    \"%s\": {\"against\": \"%s\", ", comma, bench_contestant_name(c), bench_contestant_name(base));
		json_number("ratio", bench_geometric_mean(b, c, base), ", ");
		json_number("ratio_to_bochs", bench_geometric_mean(b, c, CONTEST_BOCHS), ", ");
		json_number("ratio_to_qemu", bench_geometric_mean(b, c, CONTEST_QEMU), "}");
		comma = ",";
	}
	printf("},\n");
}

static void json_aims(const struct bench *b)
{
	printf("  \"aims\": [");
	for (unsigned i = 0; i < bench_aim_count(); i++) {
		struct bench_aim a = bench_aim_of(b, i);
		int met = bench_aim_met(&a);
		printf("%s\n    {\"name\": \"%s\", \"aim\": %g, \"at\": \"%s\", \"unit\": \"%s\", ", i ? "," : "", a.name, a.aim, a.at_most ? "most" : "least", a.unit);
		json_number("value", a.value, ", ");
		printf("\"met\": %s, ", met < 0 ? "null" : met ? "true" : "false");
		printf(*a.kernel ? "\"kernel\": \"%s\", " : "\"kernel\": null%s, ", a.kernel);
		json_number("kernel_value", a.worst, ", ");
		printf("\"missing_kernels\": %u}", a.missing);
	}
	printf("\n  ]\n");
}

void bench_print_json(const struct bench *b)
{
	const char *comma = "";
	printf("{\n  \"runs\": %u,\n  \"peers\": %s,\n  \"versions\": {", b->runs, b->peers ? "true" : "false");
	for (unsigned c = 0; c < CONTESTANTS; c++)
		if (bench_takes_part(b, c)) {
			printf(bench_contestant_present(c) ? "%s\"%s\": \"%s\"" : "%s\"%s\": null", comma, bench_contestant_name(c), b->version[c]);
			comma = ", ";
		}
	printf("},\n  \"kernels\": [");
	comma = "";
	for (unsigned k = 0; k < bench_kernel_count; k++)
		if (bench_counts(b, k)) {
			printf("%s\n", comma);
			json_kernel(b, k);
			comma = ",";
		}
	printf("\n  ],\n");
	json_means(b);
	json_aims(b);
	printf("}\n");
}
