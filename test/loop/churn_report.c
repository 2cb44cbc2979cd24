/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "churn.h"

static uint64_t
all(const struct work_result *result, size_t offset)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < INTERVALS; i++)
		sum += *(const uint64_t *)((const char *)&result->counts[i] + offset);
	return sum;
}

#define ALL(result, field) all(result, offsetof(struct stream_counts, field))

bool
report_is_right(const struct work_result *result)
{
	return result->skipped != NULL || (result->fault[0] == '\0' && result->lost == 0 &&
		ALL(result, corrupt) == 0 && ALL(result, reordered) == 0 && result->faults == 0);
}

/* The line of /proc/interrupts with this name: the number of one core, or 0. */
static uint64_t
number_of(const char *text, const char *name, unsigned int core)
{
	const char *found = strstr(text, name);
	uint64_t number = 0;
	unsigned int i;
	char *at;

	if (found == NULL)
		return 0;
	at = (char *)(uintptr_t)found + strlen(name);
	for (i = 0; i <= core; i++)
		number = strtoull(at, &at, 10);
	return number;
}

struct interrupts
interrupts_of(unsigned int core)
{
	static char text[1 << 16];
	FILE *file = fopen("/proc/interrupts", "r");
	struct interrupts got = { 0 };
	size_t size;

	if (file == NULL)
		return got;
	size = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[size] = '\0';
	got.calls = number_of(text, "CAL:", core);
	got.shootdowns = number_of(text, "TLB:", core);
	return got;
}

static double
us(const struct work_result *result, uint64_t ticks)
{
	return (double)ticks / result->ticks_per_us;
}

static double
quantile_us(const struct work_result *result, const struct times *times, double quantile)
{
	return time_quantile(times, quantile) / result->ticks_per_us;
}

/* What is exceeded so often in a second: both sides have had as much time. */
static double
exceeded_us(const struct work_result *result, enum interval interval, const struct times *times,
	uint64_t a_second)
{
	uint64_t above = result->counts[interval].nanoseconds * a_second / 1000000000;

	return time_exceeded_by(times, above) / result->ticks_per_us;
}

static void
print_times(const struct work_result *result, const char *name, const struct times *times)
{
	printf("\"%s_us\":{\"count\":%" PRIu64 ",\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,"
		"\"p9999\":%.2f,\"max\":%.1f}", name, times->count,
		quantile_us(result, times, 0.5), quantile_us(result, times, 0.99),
		quantile_us(result, times, 0.999), quantile_us(result, times, 0.9999),
		us(result, times->max));
}

static void
print_long(const struct work_result *result, const char *name, const struct long_ones *ones)
{
	printf("\"%s\":{\"stolen\":%" PRIu64 ",\"faulted\":%" PRIu64 ",\"other\":%" PRIu64
		",\"longest_us\":%.1f}", name, ones->stolen, ones->faulted, ones->other,
		us(result, ones->longest));
}

/* What the poller wrote. */
static void
print_book(const struct work_result *result, enum interval interval)
{
	const struct book_interval *book = &result->book.intervals[interval];

	printf(",\"poller\":{\"refused\":%" PRIu64 ",\"unsent\":%" PRIu64 ",\"faults\":%" PRIu64
		",\"call_interrupts\":%" PRIu64 ",\"tlb_shootdowns\":%" PRIu64 ",",
		book->refused, book->unsent, book->faults, result->interrupts[interval].calls,
		result->interrupts[interval].shootdowns);
	print_times(result, "receive", &book->receive);
	printf(",");
	print_times(result, "empty", &book->empty);
	printf(",");
	print_times(result, "send", &book->send);
	printf(",");
	print_times(result, "gap", &book->gaps);
	printf(",");
	print_times(result, "own_gap", &book->own_gaps);
	printf(",");
	printf("\"exceeded_us\":{\"100/s\":%.2f,\"10/s\":%.2f,\"1/s\":%.2f},",
		exceeded_us(result, interval, &book->own_gaps, 100),
		exceeded_us(result, interval, &book->own_gaps, 10),
		exceeded_us(result, interval, &book->own_gaps, 1));
	print_long(result, "long_calls", &book->calls);
	printf(",");
	print_long(result, "long_gaps", &book->gaps_by_cause);
	printf("}");
}

/* Values in order, and where the middle of what they were drawn from is. */
struct middle {
	unsigned int count;
	double median;
	double low, high;      /* the middle is between them in 95 of 100 cases */
};

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts the values. The bounds are those of the sign test: half a deviation is sqrt(n) / 2. */
static struct middle
middle_of(double *values, unsigned int count)
{
	struct middle middle = { .count = count };
	unsigned int spread = 0;

	if (count == 0)
		return middle;
	qsort(values, count, sizeof(*values), compare_doubles);
	while ((double)spread * spread < 0.96 * count && spread < (count - 1) / 2)
		spread++;
	middle.median = values[count / 2];
	middle.low = values[count / 2 >= spread ? count / 2 - spread : 0];
	middle.high = values[count / 2 + spread < count ? count / 2 + spread : count - 1];
	return middle;
}

/* Longest gaps of slices in microseconds: without changes, with, and with minus without. */
struct slice_pairs {
	struct middle quiet, churn, difference;
};

/* Each slice with changes is followed by one without that is as long. */
static struct slice_pairs
pair_slices(const struct work_result *result)
{
	static double quiet[BOOK_SLICES], churn[BOOK_SLICES], differences[BOOK_SLICES];
	const struct book_slice *slices = result->book.slices;
	unsigned int i, count = 0;

	for (i = 0; i + 1 < result->book.slice_count; i++) {
		if (slices[i].interval != CHURN || slices[i + 1].interval != QUIET)
			continue;
		churn[count] = us(result, slices[i].longest);
		quiet[count] = us(result, slices[i + 1].longest);
		differences[count] = churn[count] - quiet[count];
		count++;
	}
	return (struct slice_pairs){
		.quiet = middle_of(quiet, count),
		.churn = middle_of(churn, count),
		.difference = middle_of(differences, count),
	};
}

static void
print_pairs(const struct work_result *result)
{
	struct slice_pairs pairs = pair_slices(result);

	printf(",\n\"longest_of_slices_us\":{\"pairs\":%u,\"quiet\":%.1f,\"churn\":%.1f,"
		"\"difference\":%.1f,\"low\":%.1f,\"high\":%.1f}", pairs.difference.count,
		pairs.quiet.median, pairs.churn.median, pairs.difference.median,
		pairs.difference.low, pairs.difference.high);
}

static void
print_interval(const struct work_result *result, const char *name, enum interval interval)
{
	const struct stream_counts *counts = &result->counts[interval];

	printf(",\n\"%s\":{\"seconds\":%.3f,\"received\":%" PRIu64 ",\"late_polls\":%" PRIu64
		",", name, (double)counts->nanoseconds / 1e9, counts->received,
		counts->gaps.pauses);
	print_times(result, "raw", &counts->gaps.raw);
	printf(",");
	print_times(result, "net", &counts->gaps.net);
	if (result->has_book)
		print_book(result, interval);
	printf("}");
}

void
report_json(const struct work_result *result)
{
	printf("{\"work\":\"%s\"", result->name);
	if (result->skipped != NULL) {
		printf(",\"skipped\":\"%s\"}", result->skipped);
		return;
	}
	printf(",\"fault\":\"%s\",\"cycles\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"received\":%"
		PRIu64, result->fault, result->cycles, ALL(result, sent), ALL(result, received));
	printf(",\"lost\":%" PRIu64 ",\"corrupt\":%" PRIu64 ",\"reordered\":%" PRIu64
		",\"ring_faults\":%" PRIu64, result->lost, ALL(result, corrupt),
		ALL(result, reordered), result->faults);
	printf(",\"calls\":%" PRIu64 ",\"late_calls\":%" PRIu64 ",\"missed_calls\":%" PRIu64
		",\"logged_pages\":%" PRIu64, result->calls, result->late_calls,
		result->missed_calls, result->logged_pages);
	print_interval(result, "quiet", QUIET);
	print_interval(result, "churn", CHURN);
	if (result->has_book)
		print_pairs(result);
	printf("}");
}

void
report_head(bool book)
{
	printf("%s; quiet / churn\n"
		"%-12s %6s %6s %11s %5s %7s %9s %15s %7s %15s %15s %15s %17s\n",
		book ? "gaps, us: from where frames waited, or the burst before, to the end of "
		"the burst, without the time that others had the core" :
		"longest times without a frame, us, without pauses of this thread",
		"work", "cycles", "/s", "Mpps", "lost", "corrupt", "reordered", "refused",
		"IPIs/c", "p99.9", "p99.99", "slice's max", "max");
}

static double
mpps(const struct stream_counts *counts)
{
	return (double)counts->received * 1e3 / (double)(counts->nanoseconds | 1);
}

static void
print_pair(int width, double quiet, double churn)
{
	char text[40];

	snprintf(text, sizeof(text), "%.1f / %.1f", quiet, churn);
	printf(" %*s", width, text);
}

/* What of the row comes from the book of the poller, or from the driver if there is none. */
static void
print_waits(const struct work_result *result)
{
	const struct book_interval *quiet = &result->book.intervals[QUIET];
	const struct book_interval *churn = &result->book.intervals[CHURN];
	struct slice_pairs pairs = pair_slices(result);
	const struct times *gaps[] = { &quiet->own_gaps, &churn->own_gaps };
	uint64_t interrupts = result->interrupts[CHURN].calls +
		result->interrupts[CHURN].shootdowns;
	char refused[40];

	if (!result->has_book) {
		gaps[0] = &result->counts[QUIET].gaps.net;
		gaps[1] = &result->counts[CHURN].gaps.net;
	}
	snprintf(refused, sizeof(refused), "%" PRIu64 " / %" PRIu64, quiet->refused,
		churn->refused);
	printf(" %15s %7.1f", result->has_book ? refused : "-",
		(double)interrupts / (double)(result->cycles | 1));
	print_pair(15, quantile_us(result, gaps[0], 0.999), quantile_us(result, gaps[1], 0.999));
	print_pair(15, quantile_us(result, gaps[0], 0.9999), quantile_us(result, gaps[1], 0.9999));
	print_pair(15, pairs.quiet.median, pairs.churn.median);
	print_pair(17, us(result, gaps[0]->max), us(result, gaps[1]->max));
}

void
report_row(const struct work_result *result)
{
	const struct stream_counts *counts = result->counts;

	if (result->skipped != NULL) {
		printf("%-12s skipped: %s\n", result->name, result->skipped);
		return;
	}
	printf("%-12s %6" PRIu64 " %6.0f", result->name, result->cycles,
		(double)result->cycles * 1e9 / (double)(counts[CHURN].nanoseconds | 1));
	print_pair(11, mpps(&counts[QUIET]), mpps(&counts[CHURN]));
	printf(" %5" PRIu64 " %7" PRIu64 " %9" PRIu64, result->lost, ALL(result, corrupt),
		ALL(result, reordered));
	print_waits(result);
	printf(" %s\n", result->fault);
}
