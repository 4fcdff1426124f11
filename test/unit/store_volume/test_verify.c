#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "ruin.h"
#include "store/volume/state.h"
#include "suites.h"

static struct ruin ruin;

static void setup(void)
{
	ruin_init(&ruin);
}
static void teardown(void)
{
	ruin_fini(&ruin);
}

static void verify(void)
{
	struct err_detail d;
	enum err e = ruin_verify(&ruin, &d);
	ck_assert_msg(e == ERR_OK, "volume_verify: %s: %s", err_text(e), d.text);
}

static bool is_kind(const char *file, const char *suffix)
{
	size_t n = strlen(file);
	size_t m = strlen(suffix);
	return n > m && strcmp(file + n - m, suffix) == 0;
}

/* Files of which some bytes mean nothing: LMDB's free and half-filled pages. */
static bool has_slack(const char *file)
{
	return strcmp(file, "state/data.mdb") == 0 || strcmp(file, ruin.active) == 0;
}

/* The start either refuses by name or serves what is right. What verify says is lost
 * and what gives an error agree, but for segments of which nothing is served. */
static void open_and_compare(const char *file, const char *how, int64_t at)
{
	struct err_detail d;
	int64_t bad;
	ruin.was_clean = !ruin.was_clean;
	if (!ruin_open(&ruin, &bad, &d)) {
		ck_assert_msg(ruin.n_found > 0, "%s, %s at %lld: refused (%s), yet verify finds nothing",
			      file, how, (long long)at, d.text);
		ck_assert_msg(strstr(d.text, "00000000") != NULL || strstr(d.text, "MANIFEST") != NULL,
			      "%s, %s at %lld: \"%s\" names no file", file, how, (long long)at, d.text);
		return;
	}
	if (bad > 0) {
		ck_assert_msg(ruin.n_found > 0, "%s, %s at %lld: %lld events are gone, verify finds "
			      "nothing", file, how, (long long)at, (long long)bad);
	}
}

START_TEST(sound_volume_has_no_findings)
{
	for (int i = 0; i < 2; i++) {
		ruin.knows_starts = i == 0;
		verify();
		ruin_print(&ruin);
		ck_assert_uint_eq(ruin.result.findings, 0);
	}
	int64_t events = 0;
	for (uint32_t p = 0; p < RUIN_PARTS; p++) {
		events += ruin.bed.next_seq[p] - ruin.start[p];
	}
	/* Some that are gone for readers are still in a file. */
	ck_assert_uint_ge(ruin.result.events, (uint64_t)events);
	ck_assert_uint_eq(ruin.result.partitions, RUIN_PARTS);
	ck_assert_uint_eq(ruin.result.files, ruin.n_files);
	int64_t bytes = 0;
	for (uint32_t i = 0; i < ruin.n_files; i++) {
		char path[256];
		ruin_path(&ruin, ruin.file[i], path, sizeof path);
		bytes += bed_size(path);
	}
	ck_assert_uint_eq(ruin.result.bytes, (uint64_t)bytes);
}
END_TEST

/* After the start that an unclean stop needs, and with the segments still open at the
 * stop unsealed. */
START_TEST(used_volume_has_no_findings)
{
	struct err_detail d;
	int64_t bad;
	for (int i = 0; i < 3; i++) {
		ck_assert(ruin_open(&ruin, &bad, &d));
		ck_assert_int_eq(bad, 0);
		verify();
		ruin_print(&ruin);
		ck_assert_uint_eq(ruin.result.findings, 0);
	}
}
END_TEST

/* A bit at many places of every file. */
START_TEST(flipped_bit_is_found)
{
	const char *file = ruin.file[_i % (int)ruin.n_files];
	if (_i >= (int)ruin.n_files) {
		return;
	}
	char path[256];
	ruin_path(&ruin, file, path, sizeof path);
	int64_t size = bed_size(path);
	int64_t step = size < 2000 ? 1 : size / 41;
	int bit = 0;
	for (int64_t at = 0; at < size; at += step) {
		bit = (bit + 5) % 8;
		bed_flip_bit(path, at, bit);
		verify();
		ck_assert_msg(has_slack(file) || ruin_found(&ruin, file), "%s: bit %d at %lld", file,
			      bit, (long long)at);
		bool opens = at % (step * 7) == 0 || (has_slack(file) && ruin.n_found == 0);
		if (opens) {
			open_and_compare(file, "flipped", at);
			ruin_copy(&ruin);
		} else {
			bed_flip_bit(path, at, bit);
		}
	}
}
END_TEST

START_TEST(cut_file_is_found)
{
	if (_i >= (int)ruin.n_files) {
		return;
	}
	const char *file = ruin.file[_i];
	char path[256];
	ruin_path(&ruin, file, path, sizeof path);
	int64_t size = bed_size(path);
	for (int k = 0; k < 16; k++) {
		/* Whole pages, and in their midst; nothing at all; all but a byte. */
		int64_t cut = k == 0 ? 0 : k == 1 ? size - 1 : size * k / 16 / (k % 2 == 0 ? 1 : 4096) *
							       (k % 2 == 0 ? 1 : 4096);
		ck_assert_int_eq(truncate(path, cut), 0);
		verify();
		ck_assert_msg(ruin_found(&ruin, file) || has_slack(file),
			      "%s cut to %lld", file, (long long)cut);
		open_and_compare(file, "cut", cut);
		ruin_copy(&ruin);
	}
}
END_TEST

START_TEST(lost_file_is_found)
{
	for (uint32_t i = 0; i < ruin.n_files; i++) {
		const char *file = ruin.file[i];
		char path[256];
		ruin_path(&ruin, file, path, sizeof path);
		ck_assert_int_eq(unlink(path), 0);
		verify();
		/* Without its .idx a segment of the chain is one that was not sealed yet, and an
		 * export may have been removed by the next: both are legal states. */
		bool is_legal = is_kind(file, ".idx") || is_kind(file, ".exp");
		ck_assert_msg(is_legal || ruin_found(&ruin, file), "%s", file);
		open_and_compare(file, "lost", 0);
		ruin_copy(&ruin);
	}
}
END_TEST

START_TEST(lost_segment_names_its_events)
{
	char path[256];
	ruin_path(&ruin, ruin.sealed, path, sizeof path);
	unlink(path);
	verify();
	ck_assert(ruin_found(&ruin, ruin.sealed));
	struct err_detail d;
	int64_t bad;
	ck_assert_msg(ruin_open(&ruin, &bad, &d), "%s", d.text);
	int64_t lost = 0;
	for (uint32_t p = 0; p < RUIN_PARTS; p++) {
		for (int64_t seq = 0; seq < ruin.bed.next_seq[p]; seq++) {
			lost += ruin_is_lost(&ruin, p, seq);
		}
	}
	ck_assert_int_gt(lost, 0);
	ck_assert_int_eq(lost, bad);

	/* With its .idx too: the gaps tell the same. */
	ruin_copy(&ruin);
	unlink(path);
	snprintf(strrchr(path, '.'), 5, ".idx");
	unlink(path);
	verify();
	ck_assert(ruin_found(&ruin, ruin.sealed));
	for (uint32_t p = 0; p < RUIN_PARTS; p++) {
		for (int64_t seq = 0; seq < ruin.bed.next_seq[p]; seq++) {
			lost -= ruin_is_lost(&ruin, p, seq);
		}
	}
	ck_assert_int_eq(lost, 0);
}
END_TEST

/* One payload in a sealed segment: what is lost is that entry's events only, though
 * nothing of the segment is served. */
START_TEST(damaged_payload_names_its_events)
{
	char path[256];
	ruin_path(&ruin, ruin.sealed, path, sizeof path);
	int64_t first = -1;
	/* In the filler of an event of partition 3. */
	for (int64_t seq = 0; seq < ruin.bed.next_seq[3] && first < 0; seq++) {
		uint8_t pattern[256];
		memset(pattern, (int)((3 + seq) & 0xff), sizeof pattern);
		put_u32(pattern, 3);
		put_u64(pattern + 4, (uint64_t)seq);
		int64_t at = bed_find(path, pattern, sizeof pattern);
		if (at > 0) {
			bed_flip(path, at + 100);
			first = seq;
		}
	}
	ck_assert_int_ge(first, 0);
	verify();
	ck_assert(ruin_found(&ruin, ruin.sealed));
	uint64_t lost = 0;
	for (uint32_t i = 0; i < ruin.n_found; i++) {
		lost += ruin.found[i].f.has_part
				? (uint64_t)(ruin.found[i].f.end_seq - ruin.found[i].f.first_seq)
				: 0;
	}
	ck_assert_uint_ge(lost, 1);
	ck_assert_uint_le(lost, 8);
}
END_TEST

START_TEST(swapped_files_are_found)
{
	for (uint32_t i = 0; i < ruin.n_files; i++) {
		for (uint32_t k = i + 1; k < ruin.n_files; k++) {
			const char *a = ruin.file[i];
			const char *b = ruin.file[k];
			bool is_one_kind = is_kind(a, strrchr(b, '.') != NULL ? strrchr(b, '.') : b);
			bool is_manifest = strncmp(a, "MANIFEST", 8) == 0 && strncmp(b, "MANIFEST", 8) == 0;
			if (!is_one_kind || is_manifest) {
				continue;	/* the two copies are the same */
			}
			ruin_swap(&ruin, a, b);
			verify();
			ck_assert_msg(ruin_found(&ruin, a) || ruin_found(&ruin, b), "%s and %s", a, b);
			open_and_compare(a, "swapped", k);
			ruin_copy(&ruin);
		}
	}
}
END_TEST

/* Each file as it was a while before. */
START_TEST(older_file_is_found)
{
	for (uint32_t i = 0; i < ruin.n_files; i++) {
		const char *file = ruin.file[i];
		char path[256];
		snprintf(path, sizeof path, "%s/%s", ruin.older, file);
		if (access(path, F_OK) != 0) {
			continue;
		}
		char now[256];
		ruin_path(&ruin, file, now, sizeof now);
		ruin_take_older(&ruin, file);
		verify();
		/* Not to be known: what has not changed since, and a state of a while before,
		 * which the log brings up to date. */
		bool is_legal = strcmp(file, "state/data.mdb") == 0 || is_kind(file, ".exp");
		ck_assert_msg(is_legal || ruin_found(&ruin, file), "%s", file);
		open_and_compare(file, "older", 0);
		ruin_copy(&ruin);
	}
}
END_TEST

/* Both copies: they know segments that are gone, and not the one that holds the rest. */
START_TEST(older_manifest_pair_is_found)
{
	ruin_take_older(&ruin, "MANIFEST");
	ruin_take_older(&ruin, "MANIFEST.copy");
	verify();
	ck_assert(ruin_found(&ruin, "MANIFEST"));
	struct err_detail d;
	int64_t bad;
	ck_assert(!ruin_open(&ruin, &bad, &d));
	ck_assert_ptr_nonnull(strstr(d.text, "MANIFEST"));
	char path[256];
	ruin_path(&ruin, ruin.cleaned, path, sizeof path);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

/* The active segment as it was before: only the state can know more. */
START_TEST(older_active_segment_is_found_by_the_state)
{
	struct bed *b = &ruin.bed;
	char path[256];
	bed_open(b, false);
	for (int i = 0; i < 4; i++) {
		bed_append(b, 0, 1, 100);
	}
	bed_close(b);
	/* The copy has fewer entries than the state below says. */
	struct err_detail d;
	struct state *s;
	ck_assert_int_eq(state_open(b->dir, false, &s, &d), ERR_OK);
	state_begin(s);
	state_shard(s, 0);
	state_applied(s, b->next_index[0] - 1, 1);
	ck_assert_int_eq(state_commit(s, &d), ERR_OK);
	state_close(&s);
	verify();
	ck_assert_uint_eq(ruin.result.findings, 0);
	char from[256];
	snprintf(from, sizeof from, "%s/%s", ruin.whole, ruin.active);
	ruin_path(&ruin, ruin.active, path, sizeof path);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(link(from, path), 0);
	verify();
	ck_assert_uint_gt(ruin.n_found, 0);
	ck_assert_ptr_nonnull(strstr(ruin.found[0].f.what, "acknowledged entries are lost"));
}
END_TEST

START_TEST(foreign_file_is_found)
{
	char path[256];
	ruin_path(&ruin, "segments/notes.txt", path, sizeof path);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	verify();
	ck_assert_uint_eq(ruin.n_found, 1);
	ck_assert_ptr_nonnull(strstr(ruin.found[0].f.what, "notes.txt"));
}
END_TEST

START_TEST(other_store_is_found)
{
	ruin.bed.options.store_uuid[3] ^= 1;
	verify();
	ck_assert(ruin_found(&ruin, "MANIFEST"));
	ck_assert(ruin_found_any(&ruin, ruin.sealed));
	ck_assert(ruin_found_any(&ruin, ruin.cleaned));
	ck_assert(ruin_found(&ruin, ruin.active));
}
END_TEST

Suite *verify_suite(void)
{
	enum { FILES = 20 };
	Suite *s = suite_create("verify");
	TCase *t = tcase_create("verify");
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, sound_volume_has_no_findings);
	tcase_add_test(t, used_volume_has_no_findings);
	tcase_add_loop_test(t, flipped_bit_is_found, 0, FILES);
	tcase_add_loop_test(t, cut_file_is_found, 0, FILES);
	tcase_add_test(t, lost_file_is_found);
	tcase_add_test(t, lost_segment_names_its_events);
	tcase_add_test(t, damaged_payload_names_its_events);
	tcase_add_test(t, swapped_files_are_found);
	tcase_add_test(t, older_file_is_found);
	tcase_add_test(t, older_manifest_pair_is_found);
	tcase_add_test(t, older_active_segment_is_found_by_the_state);
	tcase_add_test(t, foreign_file_is_found);
	tcase_add_test(t, other_store_is_found);
	suite_add_tcase(s, t);
	return s;
}
