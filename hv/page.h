/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Access to the shared page of hv/chan_abi.h. The other side may change any byte at any
 * moment, so every access is one atomic load or store that the compiler can neither repeat
 * nor invent, and nothing but the state byte orders the others. Callers check what they read
 * before they use it, and offsets before they pass them: off + n <= CHAN_PAGE_SIZE.
 */
#ifndef VTPM_HV_PAGE_H
#define VTPM_HV_PAGE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/chan_abi.h"

/* Acquire: what the other side wrote before this state is visible after it. */
static inline uint8_t page_get_state(const volatile uint8_t *page)
{
	return __atomic_load_n(page + CHAN_OFF_STATE, __ATOMIC_ACQUIRE);
}

/* The four bytes from the state on (state, locality, pad, nr_extra_pages) in one access, with the same order. */
static inline uint32_t page_get_head(const volatile uint8_t *page)
{
	const volatile void *p = page + CHAN_OFF_STATE;

	return le32toh(__atomic_load_n((const volatile uint32_t *)p, __ATOMIC_ACQUIRE));
}

static inline void page_set_head(volatile uint8_t *page, uint32_t head)
{
	volatile void *p = page + CHAN_OFF_STATE;

	__atomic_store_n((volatile uint32_t *)p, htole32(head), __ATOMIC_RELEASE);
}

/* The byte at offset off in it, and a new value for that byte. */
static inline uint8_t head_get(uint32_t head, unsigned off)
{
	return (uint8_t)(head >> (8 * (off - CHAN_OFF_STATE)));
}

static inline uint32_t head_set(uint32_t head, unsigned off, uint8_t v)
{
	const unsigned shift = 8 * (off - CHAN_OFF_STATE);

	return (head & ~(0xffu << shift)) | (uint32_t)v << shift;
}

/* Release: what was written before is visible to whoever sees this state. */
static inline void page_set_state(volatile uint8_t *page, uint8_t state)
{
	__atomic_store_n(page + CHAN_OFF_STATE, state, __ATOMIC_RELEASE);
}

/* Changes the state from one value to another, or does nothing and returns false. */
static inline bool page_swap_state(volatile uint8_t *page, uint8_t from, uint8_t to)
{
	return __atomic_compare_exchange_n(page + CHAN_OFF_STATE, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline uint8_t page_get_u8(const volatile uint8_t *page, size_t off)
{
	return __atomic_load_n(page + off, __ATOMIC_RELAXED);
}

static inline void page_set_u8(volatile uint8_t *page, size_t off, uint8_t v)
{
	__atomic_store_n(page + off, v, __ATOMIC_RELAXED);
}

static inline uint32_t page_get_length(const volatile uint8_t *page)
{
	const volatile void *p = page + CHAN_OFF_LENGTH;

	return le32toh(__atomic_load_n((const volatile uint32_t *)p, __ATOMIC_RELAXED));
}

static inline void page_set_length(volatile uint8_t *page, uint32_t v)
{
	volatile void *p = page + CHAN_OFF_LENGTH;

	__atomic_store_n((volatile uint32_t *)p, htole32(v), __ATOMIC_RELAXED);
}

static inline void page_read(const volatile uint8_t *page, size_t off, uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = page_get_u8(page, off + i);
}

static inline void page_write(volatile uint8_t *page, size_t off, const uint8_t *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		page_set_u8(page, off + i, in[i]);
}

#endif
