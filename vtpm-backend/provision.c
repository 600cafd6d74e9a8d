/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/provision.h"

#include <stdlib.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-backend/ak.h"
#include "vtpm-backend/ek.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/evidence_nv.h"
#include "vtpm-backend/import.h"
#include "vtpm-backend/store.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

static const char refused_state[] = "libtpms refuses the state: it is damaged, of a TPM 1.2, or of a newer libtpms";
static const char not_usable[] = "the state is accepted, but the TPM does not work";

int provision_startup(void)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_startup(&t.cmd, TPM_SU_CLEAR);
	return err != 0 ? err : tpmrun(&t, 0);
}

static int shutdown_engine(void)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_shutdown(&t.cmd, TPM_SU_CLEAR);
	return err != 0 ? err : tpmrun(&t, 0);
}

static int allocate_banks(void)
{
	static const uint16_t banks[] = { TPM_ALG_SHA256, TPM_ALG_SHA384 };
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_pcr_allocate(&t.cmd, banks, ARRAY_LEN(banks));
	if (err == 0)
		err = tpmrun(&t, 0);
	return err != 0 ? err : tpmrsp_pcr_allocated(&t.rsp);
}

int provision_manufacture(void)
{
	int err;

	err = allocate_banks();
	for (unsigned kind = 0; err == 0 && kind < EK_KINDS; kind++)
		err = ek_create(kind);
	return err;
}

/* Asks the keeper for the certificate of one key. */
static int request_cert(enum ek_kind kind, struct product *p)
{
	struct cert_request ask = {
		.kind = (uint8_t)kind, .key_public = p->pub[kind], .key_public_len = p->pub_len[kind] };
	uint8_t mem[CERT_REQUEST_MAX > CERT_ISSUED_MAX ? CERT_REQUEST_MAX : CERT_ISSUED_MAX];
	struct cert_issued got;
	struct ipc_msg m;
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	if (cert_request_encode(&b, &ask))
		return ERR_RANGE;
	err = ipc_send(BACKEND_FD_KEY, CERT_REQUEST, &b, NULL, 0);
	if (err == 0)
		err = ipc_recv(BACKEND_FD_KEY, &m, mem, sizeof(mem), 0);
	if (err != 0)
		return err == ERR_CLOSED ? ERR_TPM_LOST : err;
	err = m.type == CERT_ISSUED && m.nfds == 0 ? cert_issued_decode(&m.body, &got) : ERR_PROTO;
	ipc_msg_done(&m);
	if (err == 0 && (buf_left(&m.body) != 0 || got.kind != kind))
		err = ERR_PROTO;
	if (err == 0)
		err = got.code;
	if (err != 0)
		return err;
	memcpy(p->cert[kind], got.der, got.der_len);
	p->cert_len[kind] = got.der_len;
	return 0;
}

/* Before anybody else has used the TPM its own word is enough; later an EK is what the seed makes, not what lies at a handle. */
static int find_eks(const struct backend *b, struct product *p)
{
	const bool used = b->start.version != 0 && memcmp(b->start.uuid, b->start.from_uuid, UUID_LEN) == 0;
	int err = 0;

	for (unsigned kind = 0; err == 0 && kind < EK_KINDS; kind++) {
		err = used ? ek_make_again(kind, p->pub[kind], &p->pub_len[kind]) : ek_read_public(kind, p->pub[kind], &p->pub_len[kind]);
		if (used && err == ERR_NOTFOUND) { /* the endorsement hierarchy has an auth value of its owner's */
			p->pub_len[kind] = 0;
			err = 0;
		}
	}
	return err;
}

static int certify_eks(struct product *p)
{
	int err = 0;

	for (unsigned kind = 0; err == 0 && kind < EK_KINDS; kind++) {
		if (p->pub_len[kind] == 0)
			continue;
		err = request_cert(kind, p);
		if (err == 0)
			err = ek_write_cert(kind, p->cert[kind], p->cert_len[kind]);
	}
	return err;
}

/* A TPM that was made elsewhere may have no room for it. Then there is none. */
static int settle_ak(const struct backend *b, struct product *p)
{
	int err = ak_settle(&b->ak, p->pub[AK_ECC_P256], &p->pub_len[AK_ECC_P256]);

	if (err == ERR_ENGINE && (b->start.flags & RUN_CERTIFY_AK))
		return 0;
	if (err == 0 && (b->start.flags & (RUN_CERTIFY | RUN_CERTIFY_AK)))
		err = request_cert(AK_ECC_P256, p);
	return err;
}

/* The same of the indices for evidence; the manager says so (on_provisioned). */
static int settle_rows(const struct backend *b, struct product *p)
{
	int err = evidence_nv_settle(&b->ak);

	p->rows = err == 0;
	return err == ERR_ENGINE && !(b->start.flags & RUN_MANUFACTURE) ? 0 : err;
}

/* From power-on to orderly shutdown. */
static int make(struct backend *b, struct product *p)
{
	int err;

	err = engine_open(b->plain, b->plain_len);
	if (err == 0)
		err = provision_startup();
	if (err == 0 && (b->start.flags & RUN_MANUFACTURE))
		err = provision_manufacture();
	if (err == 0)
		err = settle_ak(b, p);
	if (err == 0)
		err = settle_rows(b, p);
	if (err == 0 && !(b->start.flags & RUN_CERTIFY_AK))
		err = find_eks(b, p);
	if (err == 0 && (b->start.flags & RUN_CERTIFY))
		err = certify_eks(p);
	return err != 0 ? err : shutdown_engine();
}

/* The same for a TPM of swtpm's. *why: for a person, whatever the error. */
static int take_over(struct backend *b, struct product *p, const char **why)
{
	int err;

	err = import_load(b, why);
	if (err != 0)
		return err;
	*why = refused_state;
	err = engine_open(b->plain, b->plain_len);
	secmem_wipe(b->plain, b->plain_len);
	if (err != 0)
		return err;
	*why = not_usable;
	err = provision_startup();
	if (err == 0)
		err = import_identify(p);
	if (err == 0)
		err = settle_ak(b, p);
	if (err == 0)
		err = settle_rows(b, p);
	return err != 0 ? err : shutdown_engine();
}

static int send_provisioned(const struct product *p, uint64_t version, const struct buf *sealed, struct buf *msg)
{
	struct backend_provisioned m = { .version = version, .rows = p->rows, .sealed = sealed->data, .sealed_len = sealed->len };

	for (unsigned kind = 0; kind < KEY_KINDS; kind++) {
		m.key_public[kind] = p->pub[kind];
		m.key_public_len[kind] = p->pub_len[kind];
		m.cert[kind] = p->cert[kind];
		m.cert_len[kind] = p->cert_len[kind];
	}
	if (backend_provisioned_encode(msg, &m))
		return ERR_RANGE;
	return ipc_send(BACKEND_FD_CONTROL, BACKEND_PROVISIONED, msg, NULL, 0);
}

static int deliver(struct backend *b, const struct product *p)
{
	const uint64_t version = b->start.version + 1;
	uint8_t *mem;
	struct buf sealed, msg;
	int err;

	mem = malloc(SEALED_STATE_MAX + BACKEND_PROVISIONED_MAX);
	if (mem == NULL)
		return ERR_NOMEM;
	buf_init(&sealed, mem, SEALED_STATE_MAX);
	buf_init(&msg, mem + SEALED_STATE_MAX, BACKEND_PROVISIONED_MAX);
	err = store_seal_newest(b, version, &sealed);
	if (err == 0)
		err = send_provisioned(p, version, &sealed, &msg);
	free(mem);
	return err;
}

_Noreturn void provision_run(struct backend *b)
{
	const char *why = "";
	struct product *p;
	int err;

	p = calloc(1, sizeof(*p));
	if (p == NULL)
		backend_fail(b, ERR_NOMEM, "provision");
	if (b->start.flags & RUN_IMPORT) {
		err = take_over(b, p, &why);
		if (err != 0)
			backend_refuse(b, err, why);
	} else {
		err = make(b, p);
		if (err != 0)
			backend_fail(b, err, "make the TPM");
	}
	err = deliver(b, p);
	if (err != 0)
		backend_fail(b, err, "seal the new state");
	free(p);
	backend_exit(b);
}
