/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/tpm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper/identity.h"
#include "vtpm-mgr/keeper/srk.h"
#include "vtpm-mgr/keeper/stream.h"

/* TPM 2.0 Part 2, 7.5. The TSS's constants shift a signed number into its sign. */
#define TRANSIENT_FIRST	     0x80000000u
#define LOADED_SESSION_FIRST 0x02000000u

#define FLUSH_MAX 64u /* handles asked for at once; more than any TPM has slots */

int tpm_init(struct tpm *t, const char *tcti)
{
	memset(t, 0, sizeof(*t));
	t->srk = t->session = ESYS_TR_NONE;
	if (strlen(tcti) >= sizeof(t->tcti_name))
		return ERR_RANGE;
	snprintf(t->tcti_name, sizeof(t->tcti_name), "%s", tcti);
	return 0;
}

int tpm_fail(struct tpm *t, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->text, sizeof(t->text), fmt, ap);
	va_end(ap);
	return code;
}

TSS2_RC tpm_rc_base(TSS2_RC rc)
{
	return rc & TPM2_RC_FMT1 ? rc & (TPM2_RC_FMT1 | 0x3fu) : rc;
}

/* The connection itself failed, as opposed to what came over it. */
static bool rc_is_lost(TSS2_RC rc)
{
	TSS2_RC layer = rc & TSS2_RC_LAYER_MASK, base = rc & ~TSS2_RC_LAYER_MASK;

	if (layer == TSS2_TCTI_RC_LAYER)
		return true;
	return (layer == TSS2_ESAPI_RC_LAYER || layer == TSS2_SYS_RC_LAYER) &&
	       (base == TSS2_BASE_RC_IO_ERROR || base == TSS2_BASE_RC_NO_CONNECTION);
}

/* What a TPM answers that was reset since we last spoke: our session, our handle, or no Startup yet. */
static bool rc_is_gone(TSS2_RC rc)
{
	return rc == TPM2_RC_INITIALIZE || (rc >= TPM2_RC_REFERENCE_H0 && rc <= TPM2_RC_REFERENCE_S6) ||
	       tpm_rc_base(rc) == TPM2_RC_HANDLE;
}

int tpm_check(struct tpm *t, TSS2_RC rc, const char *what)
{
	if (!rc)
		return 0;
	t->rc = rc;
	if (rc_is_lost(rc)) {
		t->lost = true;
		return tpm_fail(t, ERR_TPM_LOST, "the TPM at \"%s\" does not answer any more (%s: %s)", t->tcti_name,
				what, Tss2_RC_Decode(rc));
	}
	if (rc == TSS2_ESYS_RC_MEMORY)
		return tpm_fail(t, ERR_NOMEM, "%s: out of memory", what);
	if (rc == TSS2_ESYS_RC_RSP_AUTH_FAILED)
		return tpm_fail(t, ERR_TPM, "%s: a response of the TPM does not verify: somebody on the way changes it",
				what);
	if ((rc & TSS2_RC_LAYER_MASK) >= TSS2_ESAPI_RC_LAYER && (rc & TSS2_RC_LAYER_MASK) <= TSS2_MU_RC_LAYER)
		return tpm_fail(t, ERR_TPM,
				"%s: a response of the TPM makes no sense (%s): somebody on the way changes it", what,
				Tss2_RC_Decode(rc));
	if (tpm_rc_base(rc) == TPM2_RC_AUTH_FAIL || tpm_rc_base(rc) == TPM2_RC_BAD_AUTH)
		return tpm_fail(t, ERR_TPM,
				"%s: the TPM refuses the authorisation (%s): somebody on the way changes commands, or "
				"a password is set that we do not know",
				what, Tss2_RC_Decode(rc));
	t->gone = rc_is_gone(rc);
	return tpm_fail(t, ERR_TPM, "%s: the TPM answers: %s", what, Tss2_RC_Decode(rc));
}

/* TPM2_Startup is the firmware's business, but a TPM behind a bare socket has none. */
static int tpm_capability(struct tpm *t, TPM2_CAP cap, uint32_t first, uint32_t count, TPMS_CAPABILITY_DATA **data)
{
	TSS2_RC rc =
		Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, cap, first, count, NULL, data);

	if (rc == TPM2_RC_INITIALIZE) {
		rc = Esys_Startup(t->esys, TPM2_SU_CLEAR);
		if (rc)
			return tpm_check(t, rc, "TPM2_Startup");
		rc = Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, cap, first, count, NULL,
					data);
	}
	if (!rc && (*data)->capability != cap) {
		Esys_Free(*data);
		*data = NULL;
		rc = TSS2_ESYS_RC_MALFORMED_RESPONSE;
	}
	return tpm_check(t, rc, "TPM2_GetCapability");
}

void tpm_flush(struct tpm *t, ESYS_TR *handle)
{
	if (*handle != ESYS_TR_NONE && t->esys && !t->lost)
		(void)Esys_FlushContext(t->esys, *handle);
	*handle = ESYS_TR_NONE;
}

/*
 * Everything of a handle class that is loaded. Behind a resource manager the list holds what is
 * ours alone; without one, the TPM is ours alone.
 */
static int tpm_flush_class(struct tpm *t, uint32_t first)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	ESYS_TR handle;
	int r;

	r = tpm_capability(t, TPM2_CAP_HANDLES, first, FLUSH_MAX, &data);
	for (uint32_t i = 0; !r && data && i < data->data.handles.count; i++) {
		handle = ESYS_TR_NONE;
		if (!Esys_TR_FromTPMPublic(t->esys, data->data.handles.handle[i], ESYS_TR_NONE, ESYS_TR_NONE,
					   ESYS_TR_NONE, &handle))
			tpm_flush(t, &handle);
	}
	Esys_Free(data);
	return r;
}

/* Everything but the connection: the next tpm_ready makes it anew. */
void tpm_forget(struct tpm *t)
{
	Esys_Finalize(&t->esys);
	t->srk = t->session = ESYS_TR_NONE;
}

static int tpm_context(struct tpm *t)
{
	TSS2_RC rc;
	int r;

	if (t->esys)
		return 0;
	rc = Esys_Initialize(&t->esys, t->tcti, NULL);
	if (rc)
		return tpm_check(t, rc, "Esys_Initialize");
	t->context++;
	r = tpm_flush_class(t, TRANSIENT_FIRST);
	if (!r)
		r = tpm_flush_class(t, LOADED_SESSION_FIRST);
	if (r)
		tpm_forget(t);
	return r;
}

static int tpm_ready(struct tpm *t)
{
	int r = tpm_context(t);

	if (!r && t->srk_name_len && t->srk == ESYS_TR_NONE)
		r = srk_find(t);
	if (!r && t->srk_name_len && t->session == ESYS_TR_NONE) {
		r = tpm_session(t, TPM2_SE_HMAC, &t->session);
		if (!r)
			r = identity_check(t);
	}
	t->foreign = r == ERR_TPM_IDENTITY;
	return r;
}

static int tpm_try(struct tpm *t, int (*op)(struct tpm *t, void *arg), void *arg)
{
	int r;

	t->gone = false;
	r = tpm_ready(t);
	if (!r)
		r = op(t, arg);
	if (r)
		tpm_forget(t);
	return t->lost ? ERR_TPM_LOST : r;
}

int tpm_run(struct tpm *t, int (*op)(struct tpm *t, void *arg), void *arg)
{
	int r;

	if (t->lost || !t->tcti)
		return ERR_TPM_LOST;
	r = tpm_try(t, op, arg);
	if (r == ERR_TPM && t->gone) {
		log_info("the TPM was reset; starting over (%s)", t->text);
		r = tpm_try(t, op, arg);
	}
	return r;
}

/* A TCTI of tpm2-tss. */
static int open_module(struct tpm *t)
{
	TSS2_RC rc;

	errno = 0;
	rc = Tss2_TctiLdr_Initialize(t->tcti_name, &t->tcti);
	if (!rc)
		return 0;
	t->tcti = NULL;
	return tpm_fail(t, ERR_TPM_LOST,
			"cannot open the TPM at \"%s\": %s; is the tpm driver loaded, and may we use the device? --tcti "
			"names another",
			t->tcti_name, errno ? strerror(errno) : Tss2_RC_Decode(rc));
}

static int open_stream(struct tpm *t)
{
	char why[128];

	if (!stream_open(t->tcti_name, &t->tcti, why, sizeof(why)))
		return 0;
	return tpm_fail(t, ERR_TPM_LOST, "cannot open the TPM at \"%s\": %s", t->tcti_name, why);
}

int tpm_open(struct tpm *t)
{
	int r;

	t->streams = stream_serves(t->tcti_name);
	r = t->streams ? open_stream(t) : open_module(t);
	t->lost = r != 0;
	return r ? r : tpm_ready(t);
}

void tpm_close(struct tpm *t)
{
	if (t->esys && !t->lost)
		tpm_flush(t, &t->session);
	tpm_forget(t);
	if (t->streams)
		stream_close(&t->tcti);
	else
		Tss2_TctiLdr_Finalize(&t->tcti);
}

int tpm_session(struct tpm *t, TPM2_SE type, ESYS_TR *session)
{
	const TPMT_SYM_DEF aes = {.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
	TSS2_RC rc;

	rc = Esys_StartAuthSession(t->esys, t->srk, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, NULL, type,
				   &aes, TPM2_ALG_SHA256, session);
	if (rc) {
		*session = ESYS_TR_NONE;
		return tpm_check(t, rc, "TPM2_StartAuthSession");
	}
	/* On a policy session the second session of the command does the encrypting. */
	rc = Esys_TRSess_SetAttributes(t->esys, *session,
				       type == TPM2_SE_HMAC ? TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT |
								      TPMA_SESSION_ENCRYPT
							    : TPMA_SESSION_CONTINUESESSION,
				       0xff);
	return tpm_check(t, rc, "session attributes");
}

int tpm_session_audits(struct tpm *t, bool audits)
{
	const TPMA_SESSION attributes = audits ? TPMA_SESSION_AUDIT : TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT;

	return tpm_check(t,
			 Esys_TRSess_SetAttributes(t->esys, t->session, TPMA_SESSION_CONTINUESESSION | attributes, 0xff),
			 "session attributes");
}

int tpm_property(struct tpm *t, uint32_t property, uint32_t *value)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	int r = tpm_capability(t, TPM2_CAP_TPM_PROPERTIES, property, 1, &data);

	*value = 0;
	if (!r && data && data->data.tpmProperties.count && data->data.tpmProperties.tpmProperty[0].property == property)
		*value = data->data.tpmProperties.tpmProperty[0].value;
	Esys_Free(data);
	return r;
}

static void copy_printable(char *out, uint32_t value)
{
	for (int i = 0; i < 4; i++) {
		char c = (char)(value >> (24 - 8 * i));

		out[i] = c >= ' ' && c <= '~' ? c : '\0';
	}
}

/* A software TPM says so by its transport or by what it calls itself; clouds' virtual TPMs by their maker. */
static enum tpm_kind tpm_kind_of(const struct keeper_status *s)
{
	static const char *const software[] = {"swtpm", "mssim", "libtpms", "vtpm"};
	static const char *const virtual[] = {"MSFT", "GOOG", "AMZN", "VMW"};
	size_t n = strcspn(s->tcti, ":");

	for (size_t i = 0; i < ARRAY_LEN(software); i++)
		if (n == strlen(software[i]) && !strncmp(s->tcti, software[i], n))
			return TPM_SOFTWARE;
	if (!strncmp(s->vendor, "SW ", 3))
		return TPM_SOFTWARE;
	for (size_t i = 0; i < ARRAY_LEN(virtual); i++)
		if (!strncmp(s->manufacturer, virtual[i], strlen(virtual[i])))
			return TPM_VIRTUAL;
	return TPM_HARDWARE;
}

static int status_op(struct tpm *t, void *arg)
{
	struct keeper_status *s = arg;
	TPMS_CAPABILITY_DATA *data = NULL;
	char vendor[16] = "";
	int r;

	r = tpm_capability(t, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_MANUFACTURER, 8, &data);
	for (uint32_t i = 0; !r && data && i < data->data.tpmProperties.count; i++) {
		const TPMS_TAGGED_PROPERTY *p = &data->data.tpmProperties.tpmProperty[i];

		if (p->property == TPM2_PT_MANUFACTURER)
			copy_printable(s->manufacturer, p->value);
		else if (p->property >= TPM2_PT_VENDOR_STRING_1 && p->property <= TPM2_PT_VENDOR_STRING_4)
			copy_printable(vendor + 4 * (p->property - TPM2_PT_VENDOR_STRING_1), p->value);
		else if (p->property == TPM2_PT_FIRMWARE_VERSION_1)
			s->firmware |= (uint64_t)p->value << 32;
		else if (p->property == TPM2_PT_FIRMWARE_VERSION_2)
			s->firmware |= p->value;
	}
	Esys_Free(data);
	/* A string of less than four characters is padded with zeros (TPM 2.0 Part 2, 6.13). */
	for (size_t i = 0, n = 0; i < sizeof(vendor); i++)
		if (vendor[i])
			s->vendor[n++] = vendor[i];
	return r;
}

int tpm_status(struct tpm *t, struct keeper_status *s)
{
	int r;

	memset(s, 0, sizeof(*s));
	r = tpm_run(t, status_op, s);
	snprintf(s->tcti, sizeof(s->tcti), "%s", t->tcti_name);
	s->kind = (uint8_t)tpm_kind_of(s);
	return r;
}
