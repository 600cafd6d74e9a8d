/* SPDX-License-Identifier: BSD-2-Clause */
/* The few constants of TPM 2.0 Part 2 that the backend itself speaks, by their names there. */
#ifndef VTPM_BACKEND_TPM_H
#define VTPM_BACKEND_TPM_H

#include <stdint.h>

#define TPM_HEADER_SIZE 10u /* tag, size, code: Part 1, 18 */

enum {
	TPM_ST_NO_SESSIONS = 0x8001,
	TPM_ST_SESSIONS = 0x8002,
};

enum {
	TPM_RC_SUCCESS = 0,
	TPM_RC_HANDLE_1 = 0x18b, /* TPM_RC_HANDLE of the first handle: there is no such object */
	TPM_RC_HANDLE_2 = 0x28b, /* the same of the second handle */
	TPM_RC_ATTRIBUTES_2 = 0x282, /* TPM_RC_ATTRIBUTES of the second handle: an index that only its policy undefines */
	TPM_RC_AUTH_FAIL = 0x08e, /* with the number of a session in further bits */
	TPM_RC_INITIALIZE = 0x100,
	TPM_RC_FAILURE = 0x101,
	TPM_RC_COMMAND_SIZE = 0x142,
	TPM_RC_NV_SPACE = 0x14b,
	TPM_RC_CONTEXT_GAP = 0x901,
	TPM_RC_OBJECT_MEMORY = 0x902,
	TPM_RC_SESSION_MEMORY = 0x903,
	TPM_RC_SESSION_HANDLES = 0x905,
	TPM_RC_LOCALITY = 0x907,
	TPM_RC_LOCKOUT = 0x921,
	TPM_RC_NV_UNAVAILABLE = 0x923,
	TPM_RC_BAD_AUTH_1 = 0x9a2, /* TPM_RC_BAD_AUTH of the first session */
};

enum {
	TPM_SU_CLEAR = 0,
	TPM_SU_STATE = 1,
};

enum {
	TPM_ALG_RSA = 0x0001,
	TPM_ALG_SHA1 = 0x0004,
	TPM_ALG_AES = 0x0006,
	TPM_ALG_SHA256 = 0x000b,
	TPM_ALG_SHA384 = 0x000c,
	TPM_ALG_SHA512 = 0x000d,
	TPM_ALG_NULL = 0x0010,
	TPM_ALG_ECDSA = 0x0018,
	TPM_ALG_ECC = 0x0023,
	TPM_ALG_CFB = 0x0043,
	TPM_ECC_NIST_P256 = 0x0003,
};

enum { TPM_SE_POLICY = 1 };

enum {
	TPM_RH_OWNER = 0x40000001,
	TPM_RH_NULL = 0x40000007,
	TPM_RS_PW = 0x40000009,
	TPM_RH_ENDORSEMENT = 0x4000000b,
	TPM_RH_PLATFORM = 0x4000000c,
};

#define TPM_CAP_AUDIT_COMMANDS 4u
#define TPM_CAP_PCRS 5u /* which PCRs each bank has */
#define TPM_HT_PERSISTENT 0x81u /* the top byte of a persistent object's handle */

enum {
	TPM_CC_EvictControl = 0x120,
	TPM_CC_NV_UndefineSpace = 0x122,
	TPM_CC_ChangeEPS = 0x124,
	TPM_CC_ChangePPS = 0x125,
	TPM_CC_Clear = 0x126,
	TPM_CC_HierarchyChangeAuth = 0x129,
	TPM_CC_NV_DefineSpace = 0x12a,
	TPM_CC_PCR_Allocate = 0x12b,
	TPM_CC_CreatePrimary = 0x131,
	TPM_CC_NV_Write = 0x137,
	TPM_CC_NV_WriteLock = 0x138,
	TPM_CC_PCR_Event = 0x13c,
	TPM_CC_NV_ChangeAuth = 0x13b,
	TPM_CC_SetCommandCodeAuditStatus = 0x140,
	TPM_CC_Startup = 0x144,
	TPM_CC_Shutdown = 0x145,
	TPM_CC_StirRandom = 0x146,
	TPM_CC_NV_Read = 0x14e,
	TPM_CC_PolicySecret = 0x151,
	TPM_CC_Create = 0x153,
	TPM_CC_Quote = 0x158,
	TPM_CC_SequenceUpdate = 0x15c,
	TPM_CC_FlushContext = 0x165,
	TPM_CC_NV_ReadPublic = 0x169,
	TPM_CC_ReadPublic = 0x173,
	TPM_CC_StartAuthSession = 0x176,
	TPM_CC_ECC_Parameters = 0x178,
	TPM_CC_GetCapability = 0x17a,
	TPM_CC_GetRandom = 0x17b,
	TPM_CC_GetTestResult = 0x17c,
	TPM_CC_Hash = 0x17d,
	TPM_CC_PCR_Read = 0x17e,
	TPM_CC_ReadClock = 0x181,
	TPM_CC_PCR_Extend = 0x182,
	TPM_CC_PolicyGetDigest = 0x189,
	TPM_CC_TestParms = 0x18a,
	TPM_CC_CreateLoaded = 0x191,
};

#define TPMA_OBJECT_NODA       (1u << 10)

/* TPMA_NV, Part 2, 13.4 */
#define TPMA_NV_PPWRITE	       (1u << 0)
#define TPMA_NV_OWNERWRITE     (1u << 1)
#define TPMA_NV_AUTHWRITE      (1u << 2)
#define TPMA_NV_POLICYWRITE    (1u << 3)
#define TPMA_NV_POLICY_DELETE  (1u << 10)
#define TPMA_NV_WRITELOCKED    (1u << 11)
#define TPMA_NV_WRITEDEFINE    (1u << 13)
#define TPMA_NV_WRITE_STCLEAR  (1u << 14)
#define TPMA_NV_PPREAD	       (1u << 16)
#define TPMA_NV_OWNERREAD      (1u << 17)
#define TPMA_NV_AUTHREAD       (1u << 18)
#define TPMA_NV_NO_DA	       (1u << 25)
#define TPMA_NV_WRITTEN	       (1u << 29)
#define TPMA_NV_PLATFORMCREATE (1u << 30)

#endif
