/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#ifndef PERF_H
#define PERF_H

/*
 * vhu-perf compares vhost-user back-ends. A *row* is one kind of work: a virtio path, a frame size,
 * a direction, a burst. For each row every back-end gets a port with the same options, a front-end
 * of the same make connects to each, and then short *slices* alternate between the back-ends in
 * random order. What counts is the ratio of slices that were neighbours in time, because the
 * machines this runs on change their mind about everything else.
 *
 * Two lcores: the main lcore plays the guest's driver, the worker runs the back-end under test.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "driver.h"
#include "front.h"

#define PERF_RING 1024
#define PERF_MAX_BURST 256
#define PERF_MAX_IDLE 512
#define PERF_MAX_ROUNDS 1001
#define PERF_MAX_ROWS 1000
/* Frames on their way in a loop, so that the receive ring has room for all of them. */
#define PERF_WINDOW 512

enum perf_work {
	PERF_RECEIVE,  /* guest to back-end */
	PERF_TRANSMIT, /* back-end to guest */
	PERF_LOOP,     /* guest to back-end and back */
	PERF_EMPTY,    /* receive calls that find nothing */
};

/* What the header of each frame asks the other side for. */
enum perf_request {
	PERF_ASK_NOTHING,
	PERF_ASK_CHECKSUM,     /* a TCP checksum, as for every small segment of a Linux guest */
	PERF_ASK_SEGMENTS,     /* segmentation as well: frames longer than the link can carry */
};

/* Where the checksum of such frames is: Ethernet, IPv4, 16 bytes into TCP. */
#define PERF_CHECKSUM_AT 50

/* What is measured. Zero is the plain case of each. */
struct perf_row {
	char name[96];
	const char *group;
	enum perf_work work;
	const char *path;       /* its name */
	uint64_t features;      /* virtio features that the path needs */
	bool fixed;             /* available ring written once, refills in large batches */
	uint16_t size;          /* bytes of a frame; 0: IMIX, 7 x 64, 4 x 570, 1 x 1518 */
	uint16_t burst;
	uint16_t window;        /* frames that the driver keeps ready at most (starved); 0: ring */
	uint16_t idle;          /* idle ports polled beside the busy one */
	uint16_t regions;       /* of memory; buffers lie in the first 4 at most */
	bool offloads;          /* checksum and segmentation negotiated */
	enum perf_request request;
	uint8_t indirect;       /* entries of each chain's table, 1 or 2; 0: none */
	bool logging;
	bool iommu;
	bool touch;             /* the driver writes and reads payload */
	bool statistics;        /* those that are kept if asked for, sizes of frames included */
};

struct perf_port;

/* What a packet cost a queue of the back-end in one stage of its bursts. */
struct perf_stage {
	const char *queue;      /* "receive" or "transmit" */
	const char *name;
	double cycles;
};

/* Of both queues together, at most. */
#define PERF_MAX_STAGES 32

/* A back-end under test. */
struct perf_backend {
	const char *name;
	uint16_t most_ports;
	/* Create a port at a socket. Returns 0, or -1 with a sentence in error. */
	int (*open)(struct perf_port *port, const char *path, const struct perf_row *row);
	void (*close)(struct perf_port *port);
	/* Make it look at a new socket at once; NULL: it does so anyway. */
	void (*wake)(const char *folder);
	/* Whether bursts reach the front-end now. */
	bool (*ready)(struct perf_port *port);
	/* Bursts; transmit takes and frees what it has sent and leaves the rest. */
	uint16_t (*receive)(struct perf_port *port, struct rte_mbuf **packets, uint16_t count);
	uint16_t (*transmit)(struct perf_port *port, struct rte_mbuf **packets, uint16_t count);
	/*
	 * So many receive bursts on an empty ring: the loop that an application has around the
	 * interface, so that no call of ours is part of what each of them costs.
	 */
	void (*poll)(struct perf_port *port, struct rte_mbuf **packets, uint16_t count,
		uint32_t polls);
	/*
	 * Stages of all bursts so far, at most PERF_MAX_STAGES. Returns how many; 0: this build
	 * does not count them. NULL: the back-end cannot tell.
	 */
	unsigned int (*stages)(struct perf_port *port, struct perf_stage *stages);
};

/* perf_backend.poll for a backend whose receive() the compiler can take into the loop. */
#define PERF_POLL(receive) \
	static void poll_empty(struct perf_port *port, struct rte_mbuf **packets, \
		uint16_t count, uint32_t polls) \
	{ \
		while (polls-- != 0) \
			receive(port, packets, count); \
	}

/* One port of a back-end with the front-end that is connected to it. */
struct perf_port {
	const struct perf_backend *backend;
	struct rte_mempool *mempool;
	void *port;             /* what the back-end keeps: port, receive and transmit queue */
	void *handle[2];
	int number;             /* ethdev port or rte_vhost device, -1: none */
	char path[108];
	char name[32];
	bool open, connected;
	struct front front;
	struct front_ring send, receive;
	uint64_t outstanding;   /* frames sent and not back (loop) */
	struct floor *floor;
};

/* What a slice counted; each part is written by one lcore and read after the slice. */
struct perf_count {
	uint64_t packets;
	uint64_t bytes;
	uint64_t calls;         /* back-end: that moved packets; driver: frames sent */
	uint64_t busy_cycles;   /* back-end: of calls that moved packets */
	uint64_t cycles;
	uint64_t interrupted;   /* cycles that somebody else had the back-end's core; in no other */
	uint64_t dropped;       /* back-end: received but not taken for transmission */
	uint64_t sum;           /* of payload from guest to back-end, in check slices */
	uint64_t sum_back;      /* of payload from back-end to guest */
};

struct perf_slice {
	struct perf_port *port;
	struct perf_port *idle; /* row.idle ports */
	const struct perf_row *row;
	uint64_t ticks;         /* how long */
	bool check;             /* sum up every byte instead of being quick */
	struct perf_count front, back;
};

/* Result of one back-end in one row. */
struct perf_sample {
	double cycles;          /* per packet (per call when polling empty rings) */
	double mpps;
	double burst;           /* packets per call that moved any */
	double busy;            /* share of time in such calls */
};

struct perf_interval {
	double median, low, high; /* 95 % */
};

struct perf_outcome {
	const char *missing;    /* why there is no result, or NULL */
	char reason[160];
	unsigned int count;
	struct perf_interval cycles, mpps, to_peer, to_floor;
	double burst, busy;
	uint64_t dropped;
	uint64_t interrupted;   /* cycles */
	uint64_t features;      /* that the front-end has negotiated; 0: there is none (floor) */
	bool checked;           /* every byte was seen at the other end */
	struct perf_stage stages[PERF_MAX_STAGES];
	unsigned int stage_count;
};

struct perf_options {
	int cores[2];           /* driver, back-end */
	bool huge;
	unsigned int rounds;
	unsigned int slice_ms;
	uint64_t seed;
	bool chosen[8];         /* back-ends */
	const char *row;        /* pattern, or NULL */
	const char *only;       /* names of groups, or NULL; comma-separated */
	const char *paths;      /* names of paths, or NULL */
	bool resume;            /* rows that the JSON file has are not measured again */
	bool again;             /* but they are, the oldest first, after those that it lacks */
	unsigned int limit;     /* seconds after which no row is begun; 0: none */
	const char *set;        /* "quick" or "full" */
	const char *json, *csv;
	const char *plugin;     /* librte_net_vhu.so */
	bool list;
	char folder[64];        /* of the sockets */
};

/* backend_*.c; NULL-terminated list in backends.c. The first is what others are compared with. */
extern const struct perf_backend perf_vhu, perf_net_vhu, perf_rte_vhost, perf_net_vhost, perf_floor;
extern const struct perf_backend *const perf_backends[];
extern unsigned int perf_backend_count;
extern char perf_error[160];

/* rows.c: all rows of a set; the number is returned. */
unsigned int perf_rows(const char *set, const struct perf_row **rows);
/* Whether a row is among those that the options choose. */
bool perf_row_chosen(const struct perf_row *row, const struct perf_options *options);
bool perf_group_known(const char *name);
bool perf_path_known(const char *name);
uint16_t perf_length(const struct perf_row *row, uint64_t number);
uint16_t perf_longest(const struct perf_row *row);

/* slice.c: called on the main lcore while the worker waits. */
int perf_worker(void *argument);
void perf_worker_end(void);
void perf_slice_run(struct perf_slice *slice);
/* Frames on their way in a loop, at most. */
uint64_t perf_window(const struct perf_row *row);

/* floor.c */
int floor_create(struct perf_port *port, struct front_memory *memory, const struct perf_row *row);
void floor_destroy(struct perf_port *port);
void floor_front(struct perf_slice *slice, uint64_t end);

/* backend_rte_vhost.c: for the driver on top of it, too. End it before the sockets' folder goes. */
void perf_rte_vhost_wake(const char *folder);
void perf_rte_vhost_end(void);

/* setup.c: ports and front-ends of a row, for each chosen back-end. */
struct perf_bench {
	const struct perf_options *options;
	const struct perf_row *row;
	struct rte_mempool *mempool;
	struct front_memory memory;
	int log_fd;
	struct perf_port *ports[8];   /* the busy one, then the idle ones */
};
int perf_bench_open(struct perf_bench *bench, struct perf_outcome *outcomes);
void perf_bench_close(struct perf_bench *bench);

/* measure.c */
void perf_measure(struct perf_bench *bench, struct perf_outcome *outcomes);
struct perf_interval perf_median(double *values, unsigned int count);

/* request.c: rows whose headers ask for something. */
void perf_request_header(const struct perf_row *row, uint8_t header[FRONT_HEADER]);
/* The Ethernet, IPv4 and TCP headers that the request is about, into the frame's first bytes. */
void perf_request_frame(const struct perf_row *row, uint8_t *frame);
/* The same request on an mbuf, as a switch between two guests passes it on. */
void perf_request_mbuf(const struct perf_row *row, struct rte_mbuf *packet);

/*
 * report.c. Begin and row return 0, or -1 after a line on standard error. perf_report_age() is 0 if
 * the file that is resumed lacks the row, else the number of the run that measured it, from 1 on.
 * A row that is there already is replaced.
 */
int perf_report_begin(const struct perf_options *options);
unsigned int perf_report_age(const struct perf_row *row);
int perf_report_row(const struct perf_row *row, const struct perf_outcome *outcomes);
void perf_report_end(void);

/* args.c: 0, 1 (help was printed) or 2 (wrong usage). */
int perf_args(int argc, char **argv, struct perf_options *options);

#endif /* PERF_H */
