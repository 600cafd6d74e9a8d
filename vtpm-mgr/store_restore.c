/* SPDX-License-Identifier: BSD-2-Clause */
/* vTPMs of a backup, put in the place of what the store has of them: part of the transaction of their row of the
 * journal. */
#include "vtpm-mgr/store_sqlite.h"

#include <stdlib.h>
#include <string.h>

/* The row that goes; *id is 0 if there is none. */
static int remove_present(struct store *s, const uint8_t uuid[static UUID_LEN], struct store_vtpm *mem, int64_t *id)
{
	int err = store_vtpm_by_uuid(s, uuid, mem);

	*id = err ? 0 : mem->id;
	if (err)
		return err == ERR_NOTFOUND ? 0 : err;
	err = store_exec_id(s, SQL_STATE_DELETE, *id);
	return err ? err : store_exec_id(s, SQL_VTPM_DELETE, *id);
}

/*
 * A vTPM that is there keeps the number of its row, by which the newest of a machine is known. One that is not gets a
 * new one: its old number may be another's.
 */
static int restore_one(struct store *s, struct store *from, const struct store_restored *r, struct store_vtpm *row,
		       uint8_t *sealed)
{
	size_t len = SEALED_STATE_MAX;
	uint64_t version, rollbacks;
	int64_t id;
	int err = remove_present(s, r->uuid, row, &id);

	rollbacks = id ? row->rollbacks : 0;
	if (!err)
		err = store_vtpm_by_uuid(from, r->uuid, row);
	if (!err)
		err = store_state_get(from, r->uuid, &version, sealed, &len);
	if (err || row->damaged || version != r->leaf.version)
		return err ? err : ERR_AUTH;
	row->epoch = r->epoch;
	if (row->rollbacks < rollbacks)
		row->rollbacks = rollbacks;
	memcpy(row->wrapped, r->wrapped, WRAPPED_KEY_LEN);
	row->quarantine[0] = '\0';
	return store_vtpm_put(s, row, id, version, sealed, len);
}

int store_restore_put(struct store *s, const struct store_restore *r)
{
	struct store_vtpm *row = malloc(sizeof(*row));
	uint8_t *sealed = malloc(SEALED_STATE_MAX);
	int err = row && sealed ? 0 : ERR_NOMEM;

	for (size_t i = 0; i < r->n && !err; i++)
		err = restore_one(s, r->from, &r->v[i], row, sealed);
	free(sealed);
	free(row);
	return err;
}
