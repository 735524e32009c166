/* The translator's C functions with events and the VMM's block hook. */
#define OBSERVED 1
#define DBT_TABLE dbt_rows_observed
#include "engine_dbt_calls.h"
