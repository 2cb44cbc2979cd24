/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <stdlib.h>
#include <string.h>

#include "plan.h"

/* Where new streams go while a plan is made. */
struct draft {
	struct plan *plan;
	unsigned int next_lcore;
};

/* The lcore that serves the transmit queue already, otherwise the next one round. */
static unsigned int
choose_lcore(struct draft *draft, const struct stream *stream)
{
	for (unsigned int i = 0; stream->tx != NULL && i < draft->plan->count; i++) {
		if (draft->plan->streams[i].tx == stream->tx)
			return draft->plan->streams[i].lcore;
	}
	return draft->next_lcore++ % draft->plan->lcores;
}

static void
add_stream(struct draft *draft, struct port *from, int rx_pair, struct port *to, int tx_pair)
{
	struct plan *plan = draft->plan;

	struct stream stream = {
		.burst = settings.burst,
		.software_checksum = to->spec.software_checksum,
		.tso_size = to->spec.tso_size,
		.source = to->address,
		.peer = settings.peers[to->id],
		.rx_port = (uint16_t)from->id,
		.tx_port = (uint16_t)to->id,
		.rx_pair = (uint16_t)rx_pair,
		.tx_pair = (uint16_t)tx_pair,
	};
	if (rx_pair >= 0) {
		stream.rx = vhu_port_rx_queue(from->vhu, (uint16_t)rx_pair);
		stream.rx_counters = &from->rx[rx_pair];
	}
	if (tx_pair >= 0) {
		stream.tx = vhu_port_tx_queue(to->vhu, (uint16_t)tx_pair);
		stream.tx_counters = &to->tx[tx_pair];
	}
	stream.lcore = choose_lcore(draft, &stream);
	plan->streams[plan->count++] = stream;
}

static void
join(struct draft *draft, const struct fwd_mode *mode, struct port *from, struct port *to)
{
	uint16_t pairs[VHU_MAX_QUEUE_PAIRS];
	unsigned int count = port_running_tx(to, pairs);
	unsigned int received = mode->receives ? from->spec.queue_pairs : 0;

	for (unsigned int pair = 0; pair < received; pair++) {
		/*
		 * Packets for a guest that is not there are sent, refused and counted; none are
		 * made.
		 */
		int target = count != 0 ? pairs[pair % count] :
			mode->generates ? -1 : (int)(pair % to->spec.queue_pairs);
		add_stream(draft, from, (int)pair, to, target);
	}
	for (unsigned int pair = received; mode->generates && pair < count; pair++)
		add_stream(draft, from, -1, to, pairs[pair]);
}

static int
by_lcore(const void *left, const void *right)
{
	const struct stream *a = left, *b = right;
	int order[] = { (int)a->lcore - (int)b->lcore, a->rx_port - b->rx_port,
		a->rx_pair - b->rx_pair, a->tx_port - b->tx_port, a->tx_pair - b->tx_pair };

	for (unsigned int i = 0; i < RTE_DIM(order); i++) {
		if (order[i] != 0)
			return order[i];
	}
	return 0;
}

static void
share_out(struct plan *plan)
{
	if (plan->count != 0)
		qsort(plan->streams, plan->count, sizeof(*plan->streams), by_lcore);
	for (unsigned int i = 0; i < plan->count; i++) {
		struct plan_share *share = &plan->shares[plan->streams[i].lcore];
		if (share->count++ == 0)
			share->first = i;
	}
}

bool
plan_make(struct plan *plan, const struct fwd_mode *mode, unsigned int lcores)
{
	struct draft draft = { .plan = plan };
	unsigned int room = 1;

	*plan = (struct plan){ .mode = mode, .lcores = lcores };
	/* A port comes once as the sender and once as the receiver of streams. */
	PORT_FOREACH(port)
		room += 2 * port->spec.queue_pairs;
	plan->streams = aligned_alloc(RTE_CACHE_LINE_SIZE, room * sizeof(struct stream));
	if (plan->streams == NULL)
		return false;
	for (struct port *left = port_next(0), *right; left != NULL;
	     left = right != NULL ? port_next(right->id + 1) : NULL) {
		right = port_next(left->id + 1);
		struct port *partner = right != NULL && !mode->loops ? right : left;
		join(&draft, mode, left, partner);
		if (right != NULL)
			join(&draft, mode, right, mode->loops ? right : left);
	}
	share_out(plan);
	return true;
}

void
plan_free(struct plan *plan)
{
	free(plan->streams);
	plan->streams = NULL;
	plan->count = 0;
}

bool
plan_same(const struct plan *left, const struct plan *right)
{
	if (left->mode != right->mode || left->count != right->count)
		return false;
	for (unsigned int i = 0; i < left->count; i++) {
		const struct stream *a = &left->streams[i], *b = &right->streams[i];
		if (a->rx != b->rx || a->tx != b->tx || a->lcore != b->lcore)
			return false;
	}
	return true;
}
