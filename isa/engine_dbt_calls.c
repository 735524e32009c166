/* The translator's C functions, functional: nobody observes. */
#define OBSERVED 0
#define DBT_TABLE dbt_rows
#include "engine_dbt_calls.h"
