/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where kernels from 5.10 on differ, and what <linux/tpm.h> leaves out. Distributions move changes between versions, so
 * Kbuild looks at the headers themselves and defines the COMPAT_ names.
 */
#ifndef XEN_TPM2FRONT_COMPAT_H
#define XEN_TPM2FRONT_COMPAT_H

#include <linux/mm.h>
#include <linux/tpm.h>
#include <xen/grant_table.h>
#include <xen/xenbus.h>
#if __has_include(<linux/unaligned.h>)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

/*
 * Exported for drivers of TPMs, but declared in drivers/char/tpm/tpm.h, which packages of headers do not have.
 * CONFIG_MODVERSIONS compares the kernel's types with its own, not with these: they are as in 5.10 and later.
 */
struct tpm_chip *tpm_chip_alloc(struct device *dev, const struct tpm_class_ops *ops);
int tpm_chip_start(struct tpm_chip *chip);
void tpm_chip_stop(struct tpm_chip *chip);
int tpm_chip_register(struct tpm_chip *chip);
void tpm_chip_unregister(struct tpm_chip *chip);
int tpm2_probe(struct tpm_chip *chip);
unsigned long tpm_calc_ordinal_duration(struct tpm_chip *chip, u32 ordinal);
int tpm_pm_suspend(struct device *dev);
int tpm_pm_resume(struct device *dev);

/* Ends a grant and frees its page, now or when the other side has unmapped it. */
static inline void compat_end_grant(grant_ref_t ref, void *page)
{
#if defined(COMPAT_END_GRANT_READONLY)
	gnttab_end_foreign_access(ref, 0, (unsigned long)page);
#elif defined(COMPAT_END_GRANT_ADDRESS)
	gnttab_end_foreign_access(ref, (unsigned long)page);
#else
	gnttab_end_foreign_access(ref, virt_to_page(page));
#endif
}

/* Ends a grant unless the other side still has its page mapped. */
static inline bool compat_try_end_grant(grant_ref_t ref)
{
#if defined(COMPAT_TRY_END_GRANT)
	return gnttab_try_end_foreign_access(ref);
#else
	if (!gnttab_end_foreign_access_ref(ref, 0))
		return false;
	gnttab_free_grant_reference(ref);
	return true;
#endif
}

/* The head of tpm_class_ops.send: command in buf, len bytes. */
#ifdef COMPAT_SEND_BUFSIZ
#define COMPAT_SEND(name) int name(struct tpm_chip *chip, u8 *buf, size_t bufsiz, size_t len)
#else
#define COMPAT_SEND(name) int name(struct tpm_chip *chip, u8 *buf, size_t len)
#endif

/* xenbus_driver.remove returns nothing, or a number that nobody looks at. */
#ifdef COMPAT_REMOVE_INT
#define COMPAT_REMOVE	    int
#define COMPAT_REMOVE_VALUE 0
#else
#define COMPAT_REMOVE void
#define COMPAT_REMOVE_VALUE
#endif

#endif
