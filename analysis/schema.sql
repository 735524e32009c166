-- The results database. One transaction a run; rows are never changed after.
-- Integers are SQLite's signed 64 bits; hashes are text (16 hexadecimal digits). Nothing here depends on the real clock or computer.

CREATE TABLE provenance (              -- what made the rows
	id INTEGER PRIMARY KEY,
	program TEXT NOT NULL,             -- Ringside's version
	sqlite TEXT NOT NULL, zlib TEXT NOT NULL, gsl TEXT NOT NULL,
	UNIQUE (program, sqlite, zlib, gsl)
);
CREATE TABLE configurations (          -- the complete effective configuration, once each
	hash TEXT PRIMARY KEY,             -- FNV-1a, 64 bits, of the text
	text TEXT NOT NULL
);
CREATE TABLE comparisons (             -- runs that belong together
	id INTEGER PRIMARY KEY,
	title TEXT NOT NULL
);
CREATE TABLE runs (
	id INTEGER PRIMARY KEY,
	comparison INTEGER REFERENCES comparisons,
	provenance INTEGER NOT NULL REFERENCES provenance,
	configuration TEXT NOT NULL REFERENCES configurations,
	technique TEXT NOT NULL, mode TEXT NOT NULL, engine TEXT NOT NULL, core TEXT NOT NULL, preset TEXT NOT NULL,
	workload TEXT NOT NULL, width INTEGER NOT NULL, seed INTEGER NOT NULL,
	ending TEXT NOT NULL, exit_code INTEGER NOT NULL,
	instructions INTEGER NOT NULL, cycles INTEGER NOT NULL,
	state_hash TEXT NOT NULL, machine_hash TEXT NOT NULL,
	table_bytes_peak INTEGER NOT NULL, -- VMM tables in simulated memory
	guest_table_bytes INTEGER NOT NULL,
	equivalent INTEGER,                -- Popek and Goldberg: state hash as native's; NULL: not compared
	emulated INTEGER NOT NULL,         -- guest instructions that the VMM carried out
	efficiency REAL NOT NULL,          -- 1 - emulated / instructions
	resource_violations INTEGER NOT NULL,
	overhead REAL,                     -- cycles / native cycles
	cycles_error REAL                  -- replay: against execution
);
CREATE TABLE causes (run INTEGER NOT NULL REFERENCES runs, position INTEGER NOT NULL, cause TEXT NOT NULL, cycles INTEGER NOT NULL, PRIMARY KEY (run, cause)) WITHOUT ROWID;
CREATE TABLE exits (run INTEGER NOT NULL REFERENCES runs, reason TEXT NOT NULL, count INTEGER NOT NULL, transition_cycles INTEGER NOT NULL, handler_cycles INTEGER NOT NULL,
	PRIMARY KEY (run, reason)) WITHOUT ROWID;
CREATE TABLE works (run INTEGER NOT NULL REFERENCES runs, kind TEXT NOT NULL, cycles INTEGER NOT NULL, PRIMARY KEY (run, kind)) WITHOUT ROWID;
CREATE TABLE metrics (run INTEGER NOT NULL REFERENCES runs, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (run, name)) WITHOUT ROWID;
CREATE TABLE regions (run INTEGER NOT NULL REFERENCES runs, region INTEGER NOT NULL, count INTEGER NOT NULL, cycles INTEGER NOT NULL, instructions INTEGER NOT NULL,
	PRIMARY KEY (run, region)) WITHOUT ROWID;
CREATE TABLE unknown_opcodes (run INTEGER NOT NULL REFERENCES runs, mnemonic TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (run, mnemonic)) WITHOUT ROWID;
CREATE TABLE sampling (                -- runs that were sampled: their cycles, causes, works, metrics and cycles of exits are estimates
	run INTEGER PRIMARY KEY REFERENCES runs,
	interval INTEGER NOT NULL, warmup INTEGER NOT NULL, window INTEGER NOT NULL, head INTEGER NOT NULL, seed INTEGER NOT NULL, first INTEGER NOT NULL, -- the schedule, in instructions
	windows INTEGER NOT NULL, measured INTEGER NOT NULL, warmed INTEGER NOT NULL, -- instructions
	skips INTEGER NOT NULL, warmed_cycles INTEGER NOT NULL,
	idle INTEGER NOT NULL,             -- cycles: not estimated
	skewness REAL NOT NULL             -- of the windows' cycles: intervals hold from 25 skewness^2 windows on (Cochran 1977, 2.15)
);
CREATE TABLE samples (                 -- what they estimate, an instruction
	run INTEGER NOT NULL REFERENCES sampling, name TEXT NOT NULL,
	mean REAL NOT NULL, error REAL,    -- standard error; NULL: one window
	half_95 REAL, half_997 REAL,       -- half-widths of intervals of confidence (Student's t)
	PRIMARY KEY (run, name)
) WITHOUT ROWID;

-- The keys of each configuration, as `ringside list keys` names them: what a sweep varied. Numbers are numbers.
CREATE VIEW v_settings AS
	WITH RECURSIVE lines (configuration, line, rest, section) AS (
		SELECT hash, '', text, '' FROM configurations
		UNION ALL
		SELECT configuration, substr(rest, 1, instr(rest, char(10)) - 1), substr(rest, instr(rest, char(10)) + 1),
			CASE WHEN rest LIKE ' %' THEN section WHEN substr(rest, 1, instr(rest, char(10)) - 1) LIKE '%:' THEN substr(rest, 1, instr(rest, ':') - 1) || '.' ELSE '' END
		FROM lines WHERE rest <> ''
	), pairs (configuration, key, value) AS (
		SELECT configuration, section || trim(substr(line, 1, instr(line, ': ') - 1)), substr(line, instr(line, ': ') + 2) FROM lines WHERE instr(line, ': ')
	)
	SELECT configuration, key, CASE WHEN value GLOB '[0-9]*' THEN CAST(value AS INTEGER) ELSE trim(value, '"') END AS value FROM pairs;

-- The tables that `ringside compare` prints.
CREATE VIEW v_compare AS
	SELECT comparison, workload, width, technique, mode, seed, instructions, cycles, overhead, cycles_error,
		(SELECT sum(count) FROM exits WHERE run = runs.id) AS exits, table_bytes_peak, equivalent, efficiency, resource_violations, state_hash, id AS run
	FROM runs ORDER BY comparison, mode, id;
CREATE VIEW v_cycles_by_cause AS
	SELECT r.comparison, r.workload, r.technique, r.mode, c.position, c.cause, c.cycles, 1.0 * c.cycles / nullif(r.cycles, 0) AS share, r.id AS run
	FROM runs r JOIN causes c ON c.run = r.id ORDER BY r.comparison, r.mode, r.id, c.position;
CREATE VIEW v_exits AS
	SELECT r.comparison, r.workload, r.technique, r.mode, e.reason, e.count, e.transition_cycles + e.handler_cycles AS cycles,
		1.0 * (e.transition_cycles + e.handler_cycles) / nullif(e.count, 0) AS cycles_each, r.id AS run
	FROM runs r JOIN exits e ON e.run = r.id ORDER BY r.comparison, r.mode, r.id, cycles DESC;
CREATE VIEW v_walks AS
	SELECT r.comparison, r.workload, r.technique, r.mode, m.name, m.value, r.id AS run
	FROM runs r JOIN metrics m ON m.run = r.id WHERE m.name LIKE '%walk%' OR m.name LIKE '%.miss' ORDER BY r.comparison, r.mode, r.id, m.name;
CREATE VIEW v_replay AS
	SELECT x.comparison, x.workload, x.technique, x.seed, x.cycles AS execution_cycles, r.cycles AS replay_cycles, r.cycles_error, x.id AS execution, r.id AS replay
	FROM runs x JOIN runs r ON r.comparison = x.comparison AND r.technique = x.technique AND r.seed = x.seed AND r.workload = x.workload
	WHERE x.mode = 'execution' AND r.mode = 'replay' ORDER BY x.comparison, x.id;
