/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <libtpms/tpm_error.h>
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_nvfilename.h>
#include <libtpms/tpm_tis.h>

#include "lib/secmem.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-mgr/proto/limits.h"

#define ENGINE_STATE_CAP SEALED_STATE_MAX
#define HASH_LOCALITY	 4u /* a D-RTM event is the hardware's: Part 1, 34.2 */

/* The engine binding: libtpms' callbacks have no context argument. */
static struct {
	uint8_t *state; /* the newest permanent state; ENGINE_STATE_CAP bytes, touched as far as needed */
	size_t state_len;
	bool dirty;
	bool too_large;	  /* the newest one did not fit */
	bool manufacture; /* "absent" may be answered */
	bool on;	  /* between TPMLIB_MainInit and TPMLIB_Terminate */
	const uint8_t *volatile_state; /* what the next TPMLIB_MainInit resumes from; NULL: a plain power-on */
	size_t volatile_len;
	uint32_t packet_max; /* 0: CHAN_PACKET_MAX */
	uint8_t locality; /* of the command in hand */
	unsigned char *rsp; /* libtpms' response buffer */
	uint32_t rsp_cap;
} engine;

static TPM_RESULT on_init(void)
{
	return TPM_SUCCESS;
}

/* A copy that libtpms frees. */
static TPM_RESULT load_copy(const uint8_t *from, size_t n, unsigned char **data, uint32_t *length)
{
	*data = malloc(n);
	if (*data == NULL)
		return TPM_FAIL;
	memcpy(*data, from, n);
	*length = (uint32_t)n;
	return TPM_SUCCESS;
}

static TPM_RESULT load_permanent(unsigned char **data, uint32_t *length)
{
	if (engine.state_len == 0)
		return engine.manufacture ? TPM_RETRY : TPM_FAIL;
	return load_copy(engine.state, engine.state_len, data, length);
}

/*
 * TPM_RETRY says "absent". libtpms answers an absent permanent state by manufacturing a new
 * TPM, so it hears that only while one is wanted. An absent volatile state is a plain power-on.
 */
static TPM_RESULT on_load(unsigned char **data, uint32_t *length, uint32_t tpm_number, const char *name)
{
	(void)tpm_number;
	if (strcmp(name, TPM_PERMANENT_ALL_NAME) == 0)
		return load_permanent(data, length);
	if (strcmp(name, TPM_VOLATILESTATE_NAME) == 0 && engine.volatile_len > 0)
		return load_copy(engine.volatile_state, engine.volatile_len, data, length);
	return TPM_RETRY;
}

/* Only copies, and never fails: a failure here would put libtpms into failure mode for good. */
static TPM_RESULT on_store(const unsigned char *data, uint32_t length, uint32_t tpm_number, const char *name)
{
	(void)tpm_number;
	if (strcmp(name, TPM_PERMANENT_ALL_NAME) != 0)
		return TPM_SUCCESS;
	engine.dirty = true;
	engine.too_large = length > ENGINE_STATE_CAP;
	if (!engine.too_large) {
		memcpy(engine.state, data, length);
		engine.state_len = length;
	}
	return TPM_SUCCESS;
}

static TPM_RESULT on_delete(uint32_t tpm_number, const char *name, TPM_BOOL must_exist)
{
	(void)tpm_number;
	(void)name;
	(void)must_exist;
	return TPM_SUCCESS;
}

static TPM_RESULT on_locality(TPM_MODIFIER_INDICATOR *locality, uint32_t tpm_number)
{
	(void)tpm_number;
	*locality = engine.locality;
	return TPM_SUCCESS;
}

static int bind_callbacks(void)
{
	struct libtpms_callbacks cbs = {
		.sizeOfStruct = sizeof(cbs),
		.tpm_nvram_init = on_init,
		.tpm_nvram_loaddata = on_load,
		.tpm_nvram_storedata = on_store,
		.tpm_nvram_deletename = on_delete,
		.tpm_io_init = on_init,
		.tpm_io_getlocality = on_locality,
	};

	if (TPMLIB_ChooseTPMVersion(TPMLIB_TPM_VERSION_2) != TPM_SUCCESS ||
	    TPMLIB_RegisterCallbacks(&cbs) != TPM_SUCCESS)
		return ERR_ENGINE;
	/* What the engine advertises must fit the page: hv/chan_abi.h. */
	if (TPMLIB_SetBufferSize(engine.packet_max ? engine.packet_max : CHAN_PACKET_MAX, NULL, NULL) > CHAN_PACKET_MAX)
		return ERR_ENGINE;
	return 0;
}

static int main_init(void)
{
	if (bind_callbacks() != 0)
		return ERR_ENGINE;
	engine.on = true; /* also if it fails: only TPMLIB_Terminate ends the failure mode */
	return TPMLIB_MainInit() == TPM_SUCCESS ? 0 : ERR_ENGINE;
}

int engine_prepare(void)
{
	void *mem;

	if (engine.state != NULL)
		return ERR_WRONG_STATE;
	mem = mmap(NULL, ENGINE_STATE_CAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return ERR_NOMEM;
	if (mlock2(mem, ENGINE_STATE_CAP, MLOCK_ONFAULT) != 0 || madvise(mem, ENGINE_STATE_CAP, MADV_DONTDUMP) != 0) {
		munmap(mem, ENGINE_STATE_CAP);
		return ERR_NOMEM;
	}
	engine.state = mem;
	return 0;
}

int engine_load(const uint8_t *state, size_t len)
{
	if (engine.state == NULL || engine.on || len > ENGINE_STATE_CAP)
		return ERR_WRONG_STATE;
	if (engine.state_len > len)
		secmem_wipe(engine.state + len, engine.state_len - len);
	if (len > 0)
		memcpy(engine.state, state, len);
	engine.state_len = len;
	engine.dirty = engine.too_large = false;
	return bind_callbacks();
}

int engine_open(const uint8_t *state, size_t len)
{
	int err = engine_load(state, len);

	if (err != 0)
		return err;
	engine.manufacture = len == 0;
	err = main_init();
	engine.manufacture = false;
	return err;
}

int engine_power_on(const uint8_t *resume, size_t len)
{
	int err;

	if (engine.state == NULL || engine.state_len == 0 || engine.on || engine.too_large)
		return ERR_WRONG_STATE;
	engine.volatile_state = resume;
	engine.volatile_len = len;
	err = main_init();
	engine.volatile_state = NULL;
	engine.volatile_len = 0;
	return err;
}

void engine_power_off(void)
{
	if (engine.on)
		TPMLIB_Terminate();
	engine.on = false;
}

void engine_close(void)
{
	if (engine.state == NULL)
		return;
	engine_power_off();
	if (engine.rsp != NULL)
		secmem_wipe(engine.rsp, engine.rsp_cap);
	free(engine.rsp);
	secmem_wipe(engine.state, engine.state_len);
	munmap(engine.state, ENGINE_STATE_CAP);
	memset(&engine, 0, sizeof(engine));
}

uint32_t engine_packet_max(uint32_t wanted, uint32_t *min)
{
	uint32_t now;

	if (wanted > CHAN_PACKET_MAX)
		wanted = CHAN_PACKET_MAX;
	now = TPMLIB_SetBufferSize(wanted, min, NULL);
	if (wanted != 0)
		engine.packet_max = now;
	return now;
}

char *engine_info(uint32_t flags)
{
	return TPMLIB_GetInfo((enum TPMLIB_InfoFlags)flags);
}

int engine_established(bool *bit)
{
	TPM_BOOL set = 0;

	if (TPM_IO_TpmEstablished_Get(&set) != TPM_SUCCESS)
		return ERR_ENGINE;
	*bit = set != 0;
	return 0;
}

int engine_established_reset(uint8_t locality)
{
	TPM_RESULT rc;

	engine.locality = locality;
	rc = TPM_IO_TpmEstablished_Reset();
	if (rc == TPM_BAD_LOCALITY)
		return ERR_DENIED;
	return rc == TPM_SUCCESS ? 0 : ERR_ENGINE;
}

int engine_hash_start(void)
{
	engine.locality = HASH_LOCALITY;
	return TPM_IO_Hash_Start() == TPM_SUCCESS ? 0 : ERR_ENGINE;
}

int engine_hash_data(const uint8_t *data, size_t n)
{
	engine.locality = HASH_LOCALITY;
	return TPM_IO_Hash_Data(data, (uint32_t)n) == TPM_SUCCESS ? 0 : ERR_ENGINE;
}

int engine_hash_end(void)
{
	engine.locality = HASH_LOCALITY;
	return TPM_IO_Hash_End() == TPM_SUCCESS ? 0 : ERR_ENGINE;
}

int engine_volatile(uint8_t **state, size_t *len)
{
	uint32_t n = 0;

	*state = NULL;
	if (TPMLIB_VolatileAll_Store(state, &n) != TPM_SUCCESS || n == 0)
		return ERR_ENGINE;
	*len = n;
	return 0;
}

int engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX], size_t *rsp_len)
{
	uint32_t n = 0;
	TPM_RESULT rc;
	int err = ERR_ENGINE;

	if (engine.state == NULL)
		return ERR_WRONG_STATE;
	engine.locality = locality;
	rc = TPMLIB_Process(&engine.rsp, &n, &engine.rsp_cap, cmd, (uint32_t)len);
	if (rc == TPM_SUCCESS && n >= TPM_HEADER_SIZE && n <= CHAN_PACKET_MAX && n <= engine.rsp_cap) {
		memcpy(rsp, engine.rsp, n);
		*rsp_len = n;
		err = 0;
	}
	if (engine.rsp != NULL)
		secmem_wipe(engine.rsp, n <= engine.rsp_cap ? n : engine.rsp_cap);
	return err;
}

void engine_cancel(void)
{
	/* It fails only where no TPM version was chosen, and then nothing runs that could be cancelled. */
	(void)TPMLIB_CancelCommand();
}

bool engine_dirty(void)
{
	return engine.dirty;
}

void engine_clean(void)
{
	engine.dirty = false;
}

int engine_state(const uint8_t **state, size_t *len)
{
	if (engine.state == NULL || engine.state_len == 0)
		return ERR_WRONG_STATE;
	if (engine.too_large)
		return ERR_FULL;
	*state = engine.state;
	*len = engine.state_len;
	return 0;
}
