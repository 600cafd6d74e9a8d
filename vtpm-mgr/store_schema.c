/* SPDX-License-Identifier: BSD-2-Clause */
/* The SQLite engine of the store: its tables and its statements. */
#include "vtpm-mgr/store_sqlite.h"

/* What sqlite_schema must hold, word for word, in order of name: a view or trigger would be somebody else's code. */
const struct store_table store_tables[] = {
	{"grp", "CREATE TABLE grp (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, root BLOB NOT NULL) STRICT"},
	{"journal", "CREATE TABLE journal (n INTEGER PRIMARY KEY, row BLOB NOT NULL, mac BLOB NOT NULL) STRICT"},
	{"leaf", "CREATE TABLE leaf (uuid BLOB NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL, version INTEGER NOT NULL, "
		 "mode INTEGER NOT NULL, discontinuities INTEGER NOT NULL, hash BLOB NOT NULL, kinds INTEGER NOT NULL, "
		 "serial BLOB NOT NULL, certs BLOB NOT NULL) STRICT, WITHOUT ROWID"},
	{"meta", "CREATE TABLE meta (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL) STRICT"},
	{"state", "CREATE TABLE state (id INTEGER PRIMARY KEY, uuid BLOB NOT NULL UNIQUE REFERENCES vtpm (uuid), "
		  "version INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT"},
	{"vtpm", "CREATE TABLE vtpm (id INTEGER PRIMARY KEY, uuid BLOB NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, "
		 "grp TEXT NOT NULL REFERENCES grp (name), epoch INTEGER NOT NULL, user INTEGER NOT NULL, "
		 "state_max INTEGER NOT NULL, commit_rate INTEGER NOT NULL, locality_max INTEGER NOT NULL, "
		 "snapshots INTEGER NOT NULL, launch INTEGER NOT NULL, launch_rules BLOB NOT NULL, rollbacks INTEGER NOT NULL, created INTEGER NOT NULL, machine BLOB NOT NULL, "
		 "token BLOB NOT NULL, wrapped BLOB NOT NULL, key_due INTEGER NOT NULL, quarantine TEXT NOT NULL, "
		 "ek_public_0 BLOB NOT NULL, ek_public_1 BLOB NOT NULL, cert_0 BLOB NOT NULL, cert_1 BLOB NOT NULL) "
		 "STRICT"},
	{"vtpm_machine", "CREATE INDEX vtpm_machine ON vtpm (machine)"},
};
const size_t store_ntables = ARRAY_LEN(store_tables);

const char *const store_sql[SQL_COUNT] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_META_GET] = "SELECT value FROM meta WHERE key = ?1",
	[SQL_META_PUT] = "INSERT INTO meta (key, value) VALUES (?1, ?2) "
			 "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
	[SQL_META_EACH] = "SELECT key, value FROM meta WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key",
	[SQL_META_DELETE] = "DELETE FROM meta WHERE key = ?1",
	[SQL_GROUP_GET] = "SELECT root FROM grp WHERE name = ?1",
	[SQL_GROUP_PUT] = "INSERT INTO grp (name, root) VALUES (?1, ?2)",
	[SQL_GROUP_SEAL] = "UPDATE grp SET root = ?2 WHERE name = ?1",
	[SQL_GROUP_IDS] = "SELECT id FROM grp ORDER BY name",
	[SQL_GROUP_NAME] = "SELECT name FROM grp WHERE id = ?1",
	[SQL_VTPM_IDS] = "SELECT id FROM vtpm ORDER BY name",
	[SQL_VTPM_LOAD] = "SELECT v.id, v.uuid, v.name, v.grp, v.epoch, v.user, v.state_max, v.commit_rate, "
			  "v.locality_max, v.snapshots, v.launch, v.launch_rules, v.rollbacks, v.created, v.machine, v.token, v.wrapped, v.key_due, v.quarantine, v.ek_public_0, v.ek_public_1, "
			  "v.cert_0, v.cert_1, s.version, length(s.sealed), "
			  "EXISTS (SELECT 1 FROM vtpm n WHERE n.machine = nullif(v.machine, x'') AND n.id > v.id) "
			  "FROM vtpm v LEFT JOIN state s ON s.uuid = v.uuid WHERE v.id = ?1",
	[SQL_VTPM_BY_NAME] = "SELECT id FROM vtpm WHERE name = ?1",
	[SQL_VTPM_BY_UUID] = "SELECT id FROM vtpm WHERE uuid = ?1",
	[SQL_VTPM_INSERT] = "INSERT INTO vtpm (uuid, name, grp, epoch, user, state_max, commit_rate, locality_max, "
			    "snapshots, rollbacks, created, machine, token, wrapped, quarantine, ek_public_0, ek_public_1, cert_0, cert_1, id, "
			    "launch, launch_rules, key_due) "
			    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, "
			    "?19, ?20, ?21, ?22, ?23)",
	[SQL_VTPM_QUARANTINE] = "UPDATE vtpm SET quarantine = ?2 WHERE uuid = ?1",
	[SQL_VTPM_CONFIGURE] = "UPDATE vtpm SET snapshots = ?2, wrapped = ?3, epoch = ?5, quarantine = iif(?6, '', quarantine), "
			       "launch = ?7, launch_rules = ?8 WHERE uuid = ?1 AND wrapped = ?4",
	[SQL_VTPM_REWRAP] = "UPDATE vtpm SET wrapped = ?2, key_due = ?4, epoch = iif(?5, ?5, epoch) WHERE id = ?1 AND wrapped = ?3",
	[SQL_VTPM_KEYS] = "UPDATE vtpm SET ek_public_0 = ?2, ek_public_1 = ?3, cert_0 = ?4, cert_1 = ?5 WHERE uuid = ?1",
	[SQL_VTPM_EXISTS] = "SELECT 1 FROM vtpm WHERE id = ?1",
	[SQL_VTPM_ROLLBACK] = "UPDATE vtpm SET rollbacks = rollbacks + 1 WHERE uuid = ?1",
	[SQL_VTPM_DELETE] = "DELETE FROM vtpm WHERE id = ?1",
	[SQL_STATE_GET] = "SELECT uuid, version, sealed FROM state WHERE uuid = ?1",
	[SQL_STATE_INSERT] = "INSERT INTO state (uuid, version, sealed) VALUES (?1, ?2, ?3)",
	[SQL_STATE_UPDATE] = "UPDATE state SET version = ?2, sealed = ?3 WHERE uuid = ?1 AND version = ?2 - 1",
	[SQL_LEAF_EACH] = "SELECT uuid, epoch, version, mode, discontinuities, hash, kinds, serial, certs FROM leaf ORDER BY uuid",
	[SQL_LEAF_PUT] = "INSERT INTO leaf (uuid, epoch, version, mode, discontinuities, hash, kinds, serial, certs) "
			 "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (uuid) DO UPDATE SET epoch = excluded.epoch, "
			 "version = excluded.version, mode = excluded.mode, "
			 "discontinuities = excluded.discontinuities, hash = excluded.hash, kinds = excluded.kinds, "
			 "serial = excluded.serial, certs = excluded.certs",
	[SQL_LEAF_DELETE] = "DELETE FROM leaf WHERE uuid = ?1",
	[SQL_JOURNAL_READ] = "SELECT n, row, mac FROM journal WHERE n >= ?1 ORDER BY n LIMIT ?2",
	[SQL_JOURNAL_LAST] = "SELECT n, row, mac FROM journal ORDER BY n DESC LIMIT 1",
	[SQL_JOURNAL_INSERT] = "INSERT INTO journal (n, row, mac) VALUES (?1, ?2, ?3)",
	[SQL_JOURNAL_PRUNE] = "DELETE FROM journal WHERE n < ?1",
	[SQL_STATE_DELETE] = "DELETE FROM state WHERE uuid = (SELECT uuid FROM vtpm WHERE id = ?1)",
};
