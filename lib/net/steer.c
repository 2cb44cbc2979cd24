/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_net.h>
#include <rte_thash.h>

#include "net/steer.h"

#define STEER_RSS 0x1u
#define STEER_REPORT 0x2u

/* Times that a burst is done again because the description changed meanwhile. */
#define TRIES 4
/* Two IPv6 addresses and two ports. */
#define TUPLE_WORDS 9

/* What a burst uses: a copy. */
struct rules {
	uint32_t flags;
	uint32_t types;
	uint16_t pairs;
	uint16_t unclassified;
	uint32_t mask;
	uint32_t key[VHU_STEER_KEY_WORDS];
};

static uint32_t
load(const _Atomic(uint32_t) *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void
store(_Atomic(uint32_t) *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

void
vhu_steer_set(struct vhu_steer *steer, const struct vhu_steering *steering)
{
	uint32_t version = load(&steer->version);
	uint32_t word;

	store(&steer->version, version + 1);
	/* Partner: the acquire fence in vhu_steer(): whoever sees a new word sees this version. */
	atomic_thread_fence(memory_order_release);
	store(&steer->flags, (steering->rss ? STEER_RSS : 0) |
		(steering->report ? STEER_REPORT : 0));
	store(&steer->types, steering->types);
	store(&steer->pairs, steering->pairs | (uint32_t)steering->unclassified << 16);
	store(&steer->mask, steering->rss ? steering->table_size - 1u : 0);
	for (unsigned int i = 0; i < VHU_STEER_KEY_WORDS; i++) {
		memcpy(&word, steering->key + 4 * i, sizeof(word));
		store(&steer->key[i], word);
	}
	for (unsigned int i = 0; i < VHU_STEER_TABLE_WORDS; i++)
		store(&steer->table[i], steering->table[2 * i] |
			(uint32_t)steering->table[2 * i + 1] << 16);
	/* Partner: the acquire load in vhu_steer(). */
	atomic_store_explicit(&steer->version, version + 2, memory_order_release);
}

static void
copy_rules(const struct vhu_steer *steer, struct rules *rules)
{
	uint32_t pairs = load(&steer->pairs);

	rules->flags = load(&steer->flags);
	rules->types = load(&steer->types);
	/* Never 0: a modulus. */
	rules->pairs = RTE_MAX(pairs & UINT16_MAX, 1u);
	rules->unclassified = pairs >> 16;
	rules->mask = load(&steer->mask) & (VHU_HASH_TABLE_SIZE - 1);
	for (unsigned int i = 0; i < VHU_STEER_KEY_WORDS; i++)
		rules->key[i] = load(&steer->key[i]);
}

/* Ports, if this kind of frame is hashed with them. @return words added. */
static unsigned int
add_ports(const struct rte_mbuf *m, uint32_t offset, uint32_t kind, uint32_t tcp, uint32_t udp,
	uint32_t types, uint32_t *tuple)
{
	uint32_t buffer;
	const uint32_t *ports;

	if (!((kind == RTE_PTYPE_L4_TCP && (types & tcp)) ||
			(kind == RTE_PTYPE_L4_UDP && (types & udp))))
		return 0;
	ports = rte_pktmbuf_read(m, offset, sizeof(buffer), &buffer);
	if (ports == NULL)
		return 0;
	memcpy(tuple, ports, sizeof(*ports));
	return 1;
}

/*
 * What is hashed of a frame, in the order of the network (virtio 1.3, 5.1.6.4.3.2): addresses, and
 * ports if the transport is among the types; addresses alone if the protocol is. @return words.
 */
static unsigned int
make_tuple(const struct rte_mbuf *m, uint32_t types, uint32_t *ptype, uint32_t *tuple)
{
	struct rte_net_hdr_lens lens;
	uint32_t type = rte_net_get_ptype(m, &lens,
		RTE_PTYPE_L2_MASK | RTE_PTYPE_L3_MASK | RTE_PTYPE_L4_MASK);
	bool ipv4 = RTE_ETH_IS_IPV4_HDR(type);
	uint32_t tcp = ipv4 ? VHU_HASH_TCP4 : VHU_HASH_TCP6;
	uint32_t udp = ipv4 ? VHU_HASH_UDP4 : VHU_HASH_UDP6;
	uint32_t alone = ipv4 ? VHU_HASH_IPV4 : VHU_HASH_IPV6;
	unsigned int words = ipv4 ? 2 : 8, ports;
	const uint8_t *addresses;
	uint32_t buffer[8];

	if (!ipv4 && !RTE_ETH_IS_IPV6_HDR(type))
		return 0;
	addresses = rte_pktmbuf_read(m, lens.l2_len + (ipv4 ?
		offsetof(struct rte_ipv4_hdr, src_addr) : offsetof(struct rte_ipv6_hdr, src_addr)),
		4 * words, buffer);
	if (addresses == NULL)
		return 0;
	memcpy(tuple, addresses, 4 * words);
	ports = add_ports(m, lens.l2_len + lens.l3_len, type & RTE_PTYPE_L4_MASK, tcp, udp, types,
		tuple + words);
	if (ports == 0) {
		if (!(types & alone))
			return 0;
		type &= ~RTE_PTYPE_L4_MASK; /* that is what the hash is of */
	}
	*ptype = type;
	return words + ports;
}

static uint16_t
choose(const struct vhu_steer *steer, const struct rules *rules, struct rte_mbuf *m)
{
	uint32_t tuple[TUPLE_WORDS], hash, ptype, entry;
	unsigned int words = make_tuple(m, rules->types, &ptype, tuple);

	if (words == 0) {
		if (rules->flags & STEER_REPORT)
			m->ol_flags &= ~RTE_MBUF_F_RX_RSS_HASH;
		return rules->flags & STEER_RSS ? rules->unclassified : 0;
	}
	for (unsigned int i = 0; i < words; i++)
		tuple[i] = rte_be_to_cpu_32(tuple[i]);
	hash = rte_softrss(tuple, words, (const uint8_t *)rules->key);
	if (rules->flags & STEER_REPORT) {
		m->hash.rss = hash;
		m->packet_type = ptype;
		m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
	}
	if (!(rules->flags & STEER_RSS))
		return hash % rules->pairs;
	entry = hash & rules->mask;
	return load(&steer->table[entry / 2]) >> entry % 2 * 16 & UINT16_MAX;
}

void
vhu_steer(const struct vhu_steer *steer, struct rte_mbuf **packets, uint16_t count,
	uint16_t *pairs)
{
	struct rules rules;
	uint32_t version;

	for (unsigned int try = 0; try < TRIES; try++) {
		/* Partner: the release store at the end of vhu_steer_set(). */
		version = atomic_load_explicit(&steer->version, memory_order_acquire);
		copy_rules(steer, &rules);
		if (rules.pairs == 1 && rules.flags == 0)
			memset(pairs, 0, count * sizeof(*pairs));
		else
			for (uint16_t i = 0; i < count; i++)
				pairs[i] = choose(steer, &rules, packets[i]);
		/* Partner: the release fence in vhu_steer_set(). */
		atomic_thread_fence(memory_order_acquire);
		if (version % 2 == 0 && load(&steer->version) == version)
			return;
	}
	/* It changes all the time: each choice is one of some moment, and all of them exist. */
}
