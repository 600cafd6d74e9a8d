/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/secmem.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Whole pages for n bytes; 0 if that is none or too much. */
static size_t page_round(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (n == 0 || n > SIZE_MAX - (page - 1))
		return 0;
	return (n + page - 1) / page * page;
}

void *secmem_alloc(size_t n)
{
	size_t size = page_round(n);
	void *p;

	if (size == 0)
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (mlock(p, size) || madvise(p, size, MADV_DONTDUMP) || madvise(p, size, MADV_WIPEONFORK)) {
		munmap(p, size);
		return NULL;
	}
	return p;
}

void secmem_free(void *p, size_t n)
{
	size_t size = page_round(n);

	if (!p || size == 0)
		return;
	secmem_wipe(p, size);
	munmap(p, size);
}

void secmem_wipe(void *p, size_t n)
{
	if (n > 0)
		explicit_bzero(p, n);
}

bool secmem_equal(const void *a, const void *b, size_t n)
{
	const volatile uint8_t *x = a; /* volatile: every byte is read, no early way out is invented */
	const volatile uint8_t *y = b;
	uint8_t diff = 0;

	for (size_t i = 0; i < n; i++)
		diff = (uint8_t)(diff | (x[i] ^ y[i]));
	return diff == 0;
}

int secmem_process(void)
{
	static const struct rlimit none = {0, 0};

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none))
		return ERR_SYS;
	return 0;
}
