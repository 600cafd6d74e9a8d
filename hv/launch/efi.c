/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An EFI program that is started before GRUB on a host of Xen, so that dom0 has the firmware's event log.
 *
 * Linux has its log from its own EFI stub, and Xen starts dom0's kernel without one and never asks the firmware itself.
 * So this program does what the stub would (drivers/firmware/efi/libstub/tpm.c): it has the firmware hand the log over
 * (TCG EFI Protocol Specification, 6.2: GetEventLog) and leaves a copy where the kernel looks, in the configuration table
 * LINUX_EFI_TPM_EVENT_LOG, in memory of type ACPI-reclaim, which Xen gives to nobody. From that call on the firmware
 * writes what is measured, GRUB's events among it, also into the table of final events (6.2.2), which the kernel reads itself.
 *
 * Then it loads grubx64.efi from its own directory through LoadImage, so that the firmware measures it into PCR 4.
 * A host boots whether or not it has a log: what fails on the way is said and passed over.
 *
 * What the firmware hands over is trusted as the firmware itself is.
 */
#include <efi.h>
#include <efilib.h>

#define NEXT		     L"grubx64.efi"
#define FORMAT_TCG_2	     2u
#define EV_NO_ACTION	     3u
#define DIGEST_ALGORITHMS    16u
#define SPEC_ID_DIGESTS	     24u /* offset of numberOfAlgorithms in a TCG_EfiSpecIdEvent */
#define PCR_EVENT_HEADER     32u /* pcrIndex, eventType, a SHA-1 digest, eventSize: of the first event only */

static EFI_GUID tcg2_guid = {0x607f766c, 0x7455, 0x42be, {0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f}};
static EFI_GUID linux_log_guid = {0xb7799cb0, 0xeca2, 0x4943, {0x96, 0x67, 0x1f, 0xae, 0x07, 0xb7, 0x47, 0xfa}};
static EFI_GUID final_events_guid = {0x1e2ed096, 0x30e2, 0x4254, {0xbd, 0x89, 0x86, 0x3b, 0xbe, 0xf8, 0x23, 0x25}};

/* EFI_TCG2_PROTOCOL, as far as it is used. */
struct tcg2 {
	void *get_capability;
	EFI_STATUS(EFIAPI *get_event_log)
	(struct tcg2 *self, UINT32 format, EFI_PHYSICAL_ADDRESS *first, EFI_PHYSICAL_ADDRESS *last, BOOLEAN *truncated);
};

/* EFI_TCG2_FINAL_EVENTS_TABLE */
struct final_events {
	UINT64 version, count;
	UINT8 events[];
};

/* struct linux_efi_tpm_eventlog */
struct linux_log {
	UINT32 size;		 /* of log */
	UINT32 final_before;	 /* bytes of the final events that log has already */
	UINT8 version;
	UINT8 log[];
} __attribute__((packed));

static UINT32 le32(const UINT8 *p)
{
	return (UINT32)p[0] | (UINT32)p[1] << 8 | (UINT32)p[2] << 16 | (UINT32)p[3] << 24;
}
static UINT32 le16(const UINT8 *p)
{
	return (UINT32)p[0] | (UINT32)p[1] << 8;
}

/* Bytes of a digest, by the list in the log's first event (TCG PC Client Platform Firmware Profile, 10.4.5.1); 0: not there. */
static UINTN digest_size(const UINT8 *spec_id, UINT32 algorithm)
{
	UINT32 n = le32(spec_id + SPEC_ID_DIGESTS);

	for (UINT32 i = 0; i < n && i < DIGEST_ALGORITHMS; i++) {
		const UINT8 *pair = spec_id + SPEC_ID_DIGESTS + 4 + 4 * i;

		if (le16(pair) == algorithm)
			return le16(pair + 2);
	}
	return 0;
}

/* Bytes of a TCG_PCR_EVENT2; 0: it makes no sense. */
static UINTN event_size(const UINT8 *spec_id, const UINT8 *event)
{
	UINT32 n = le32(event + 8);
	UINTN at = 12;

	if (n > DIGEST_ALGORITHMS)
		return 0;
	for (UINT32 i = 0; i < n; i++) {
		UINTN size = digest_size(spec_id, le16(event + at));

		if (size == 0)
			return 0;
		at += 2 + size;
	}
	return at + 4 + le32(event + at);
}

/* Bytes of the final events so far, none if the firmware has no such table. */
static EFI_STATUS final_size(const UINT8 *spec_id, UINTN *size)
{
	struct final_events *table;

	*size = 0;
	if (EFI_ERROR(LibGetSystemConfigurationTable(&final_events_guid, (void **)&table)))
		return EFI_SUCCESS;
	for (UINT64 i = 0; i < table->count; i++) {
		UINTN one = event_size(spec_id, table->events + *size);

		if (one == 0)
			return EFI_VOLUME_CORRUPTED;
		*size += one;
	}
	return EFI_SUCCESS;
}

static EFI_STATUS publish(const UINT8 *first, UINTN size, UINTN final)
{
	struct linux_log *table;
	EFI_STATUS status;

	status = BS->AllocatePool(EfiACPIReclaimMemory, sizeof(*table) + size, (void **)&table);
	if (EFI_ERROR(status))
		return status;
	table->size = (UINT32)size;
	table->final_before = (UINT32)final;
	table->version = FORMAT_TCG_2;
	CopyMem(table->log, (void *)first, size);
	status = BS->InstallConfigurationTable(&linux_log_guid, table);
	if (EFI_ERROR(status))
		BS->FreePool(table);
	return status;
}

static EFI_STATUS hand_over(void)
{
	EFI_PHYSICAL_ADDRESS first = 0, last = 0;
	const UINT8 *log, *spec_id;
	UINTN size, final, one;
	BOOLEAN truncated;
	EFI_STATUS status;
	struct tcg2 *tcg2;

	status = LibLocateProtocol(&tcg2_guid, (void **)&tcg2);
	if (EFI_ERROR(status))
		return status;
	status = tcg2->get_event_log(tcg2, FORMAT_TCG_2, &first, &last, &truncated);
	if (EFI_ERROR(status))
		return status;
	log = (const UINT8 *)(UINTN)first;
	if (first == 0 || last < first || le32(log + 4) != EV_NO_ACTION)
		return EFI_NOT_FOUND;
	spec_id = log + PCR_EVENT_HEADER;
	size = PCR_EVENT_HEADER + le32(log + PCR_EVENT_HEADER - 4);
	if (last > first) {
		one = event_size(spec_id, (const UINT8 *)(UINTN)last);
		if (one == 0)
			return EFI_VOLUME_CORRUPTED;
		size = (UINTN)(last - first) + one;
	}
	status = final_size(spec_id, &final);
	if (EFI_ERROR(status))
		return status;
	return publish(log, size, final);
}

/* The path of NEXT in the directory that this program was loaded from. Freed by the caller; NULL: out of memory. */
static EFI_DEVICE_PATH *next_path(EFI_LOADED_IMAGE *self)
{
	CHAR16 *mine = DevicePathToStr(self->FilePath), *path = NULL;
	EFI_DEVICE_PATH *found = NULL;
	UINTN directory = 0;

	if (!mine)
		return NULL;
	for (UINTN i = 0; mine[i]; i++)
		if (mine[i] == L'\\')
			directory = i + 1;
	path = AllocateZeroPool(directory * sizeof(*path) + sizeof(NEXT));
	if (path) {
		CopyMem(path, mine, directory * sizeof(*path));
		CopyMem(path + directory, NEXT, sizeof(NEXT));
		found = FileDevicePath(self->DeviceHandle, path);
		FreePool(path);
	}
	FreePool(mine);
	return found;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);
EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	EFI_LOADED_IMAGE *self;
	EFI_DEVICE_PATH *path;
	EFI_HANDLE next = NULL;
	EFI_STATUS status;

	InitializeLib(image, system);
	status = hand_over();
	if (EFI_ERROR(status))
		Print(L"vtpm launch: the next system has no event log: %r\n", status);
	status = BS->HandleProtocol(image, &LoadedImageProtocol, (void **)&self);
	if (EFI_ERROR(status))
		return status;
	path = next_path(self);
	if (!path)
		return EFI_OUT_OF_RESOURCES;
	status = BS->LoadImage(FALSE, image, path, NULL, 0, &next);
	FreePool(path);
	if (!EFI_ERROR(status))
		status = BS->StartImage(next, NULL, NULL);
	Print(L"vtpm launch: " NEXT L": %r\n", status);
	return status;
}
