#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suites.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/volume/manifest.h"

static char dir[64];

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/manifest-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void path_of(const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s", dir, name);
}

static void teardown(void)
{
	static const char *const names[] = {"MANIFEST", "MANIFEST.copy", "MANIFEST.tmp",
					    "MANIFEST.copy.tmp"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128];
		path_of(names[i], path);
		unlink(path);
	}
	rmdir(dir);
}

static void fill(struct manifest *m, uint64_t generation)
{
	*m = (struct manifest){
		.generation = generation,
		.next_cleaned = 31,
		.base = 20,
		.is_complete = generation % 2 == 0,
	};
	memset(m->store_uuid, 0x5c, sizeof m->store_uuid);
	static const uint64_t log[] = {1, 2, 3, 7, 9, 10, 19};
	for (size_t i = 0; i < sizeof log / sizeof *log; i++) {
		ck_assert_int_eq(manifest_add(&m->log, log[i]), ERR_OK);
	}
	ck_assert_int_eq(manifest_add(&m->cleaned, 4), ERR_OK);
	ck_assert_int_eq(manifest_add(&m->cleaned, 30), ERR_OK);
}

static void check_same(const struct manifest *a, const struct manifest *b)
{
	ck_assert_int_eq(memcmp(a->store_uuid, b->store_uuid, sizeof a->store_uuid), 0);
	ck_assert_uint_eq(a->generation, b->generation);
	ck_assert_uint_eq(a->next_cleaned, b->next_cleaned);
	ck_assert_uint_eq(a->base, b->base);
	ck_assert_int_eq(a->is_complete, b->is_complete);
	ck_assert_uint_eq(a->log.n, b->log.n);
	ck_assert_uint_eq(a->cleaned.n, b->cleaned.n);
	for (size_t i = 0; i < a->log.n; i++) {
		ck_assert_uint_eq(a->log.v[i].first, b->log.v[i].first);
		ck_assert_uint_eq(a->log.v[i].last, b->log.v[i].last);
	}
}

START_TEST(ranges_hold_what_was_added)
{
	struct manifest m;
	fill(&m, 1);
	ck_assert_uint_eq(m.log.n, 4);
	for (uint64_t i = 0; i < 30; i++) {
		bool want = (i >= 1 && i <= 3) || i == 7 || i == 9 || i == 10 || i == 19;
		ck_assert_int_eq(manifest_has(&m.log, i), want);
	}
	manifest_fini(&m);
}
END_TEST

START_TEST(text_round_trips)
{
	struct manifest m;
	struct manifest back;
	struct str text = {.max = 1 << 20};
	struct err_detail d;
	fill(&m, 77);
	ck_assert_int_eq(manifest_print(&m, &text), ERR_OK);
	ck_assert_ptr_nonnull(strstr(text.p, "sluice-manifest 1\n"
					     "store=5c5c5c5c-5c5c-5c5c-5c5c-5c5c5c5c5c5c\n"
					     "generation=77\nnext-cleaned=31\nbase=20\n"
					     "complete=0\nlog=1-3\nlog=7-7\nlog=9-10\n"
					     "log=19-19\ncleaned=4-4\ncleaned=30-30\ncrc="));
	ck_assert_int_eq(manifest_parse(span_of(text.p, text.len), &back, &d), ERR_OK);
	check_same(&m, &back);
	manifest_fini(&back);
	/* Cut or flipped anywhere it is refused. */
	for (size_t n = 0; n < text.len; n++) {
		ck_assert_int_eq(manifest_parse(span_of(text.p, n), &back, &d), ERR_CORRUPT);
		text.p[n] ^= 1;
		ck_assert_int_eq(manifest_parse(span_of(text.p, text.len), &back, &d), ERR_CORRUPT);
		text.p[n] ^= 1;
	}
	str_fini(&text);
	manifest_fini(&m);
}
END_TEST

static enum err parse_lines(const char *lines)
{
	struct str text = {.max = 1 << 20};
	struct manifest m;
	str_add(&text, lines);
	str_printf(&text, "crc=%08x\n", crc32c(0, text.p, text.len));
	enum err e = manifest_parse(span_of(text.p, text.len), &m, NULL);
	manifest_fini(&m);
	str_fini(&text);
	return e;
}

#define STORE "\nstore=5c5c5c5c-5c5c-5c5c-5c5c-5c5c5c5c5c5c\n"
#define HEAD "sluice-manifest 1" STORE "generation=1\nnext-cleaned=5\nbase=9\ncomplete=0\n"

START_TEST(nonsense_with_a_right_checksum_is_refused)
{
	ck_assert_int_eq(parse_lines(HEAD), ERR_OK);
	ck_assert_int_eq(parse_lines(HEAD "log=1-8\ncleaned=1-4\n"), ERR_OK);
	ck_assert_int_eq(parse_lines("sluice-manifest 2" STORE), ERR_VERSION);
	static const char *const bad[] = {
		"sluice-manifest 1" STORE,
		"sluice-manifest 0" STORE "generation=1\nnext-cleaned=5\nbase=9\ncomplete=0\n",
		"sluice-manifest 1" STORE "generation=0\nnext-cleaned=5\nbase=9\ncomplete=0\n",
		"sluice-manifest 1" STORE "generation=1\nnext-cleaned=5\nbase=0\ncomplete=0\n",
		"sluice-manifest 1" STORE "generation=1\nnext-cleaned=5\nbase=9\ncomplete=2\n",
		"sluice-manifest 1" STORE "generation=1\nnext-cleaned=05\nbase=9\ncomplete=0\n",
		"sluice-manifest 1" STORE
		"generation=18446744073709551616\nnext-cleaned=5\nbase=9\ncomplete=0\n",
		HEAD "log=1-9\n", HEAD "cleaned=5-5\n", HEAD "log=0-1\n", HEAD "log=3-2\n",
		HEAD "log=1-2\nlog=3-4\n", HEAD "log=4-5\nlog=1-2\n", HEAD "log=1-2", HEAD "x=1\n",
		HEAD "cleaned=1-1\nlog=1-1\n", HEAD "log=1-\n", HEAD "\n",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		ck_assert_msg(parse_lines(bad[i]) == ERR_CORRUPT, "%s", bad[i]);
	}
}
END_TEST

static void ruin(const char *name, size_t at)
{
	char path[128];
	path_of(name, path);
	int fd = open(path, O_RDWR);
	uint8_t c;
	ck_assert_int_eq(pread(fd, &c, 1, (off_t)at), 1);
	c ^= 4;
	ck_assert_int_eq(pwrite(fd, &c, 1, (off_t)at), 1);
	close(fd);
}

START_TEST(either_copy_is_enough)
{
	struct manifest m;
	struct manifest back;
	struct err_detail d;
	bool is_whole;
	char path[128];
	ck_assert_int_eq(manifest_read(dir, &back, &is_whole, &d), ERR_NOT_FOUND);
	fill(&m, 5);
	static const char *const names[] = {"MANIFEST", "MANIFEST.copy"};
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(manifest_write(dir, &m, &d), ERR_OK);
		ck_assert_int_eq(manifest_read(dir, &back, &is_whole, &d), ERR_OK);
		ck_assert(is_whole);
		manifest_fini(&back);
		ruin(names[i], 40);
		ck_assert_int_eq(manifest_read(dir, &back, &is_whole, &d), ERR_OK);
		ck_assert(!is_whole);
		check_same(&m, &back);
		manifest_fini(&back);
		path_of(names[i], path);
		unlink(path);
		ck_assert_int_eq(manifest_read(dir, &back, &is_whole, &d), ERR_OK);
		ck_assert(!is_whole);
		manifest_fini(&back);
		ruin(names[1 - i], 40);
		ck_assert_int_eq(manifest_read(dir, &back, &is_whole, &d), ERR_CORRUPT);
		ck_assert_ptr_nonnull(strstr(d.text, names[1 - i]));
	}
	manifest_fini(&m);
}
END_TEST

START_TEST(later_generation_counts)
{
	struct manifest old;
	struct manifest new;
	struct manifest back;
	struct err_detail d;
	bool is_whole;
	char from[128];
	char to[128];
	fill(&old, 5);
	fill(&new, 6);
	for (int i = 0; i < 2; i++) {
		/* The copy is of the other one. */
		ck_assert_int_eq(manifest_write(dir, i == 0 ? &old : &new, &d), ERR_OK);
		path_of("MANIFEST", from);
		path_of("MANIFEST.kept", to);
		ck_assert_int_eq(rename(from, to), 0);
		ck_assert_int_eq(manifest_write(dir, i == 0 ? &new : &old, &d), ERR_OK);
		ck_assert_int_eq(rename(to, from), 0);
		ck_assert_int_eq(manifest_read(dir, &back, &is_whole, &d), ERR_OK);
		ck_assert(!is_whole);
		check_same(&new, &back);
		manifest_fini(&back);
	}
	manifest_fini(&old);
	manifest_fini(&new);
}
END_TEST

START_TEST(failed_write_leaves_both)
{
	struct manifest m;
	struct manifest back;
	struct err_detail d;
	bool is_whole;
	char path[128];
	fill(&m, 5);
	ck_assert_int_eq(manifest_write(dir, &m, &d), ERR_OK);
	m.generation = 6;
	for (long n = 1;; n++) {
		mem_fault_at(n);
		enum err e = manifest_write(dir, &m, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			break;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
		ck_assert_int_eq(manifest_read(dir, &back, &is_whole, &d), ERR_OK);
		ck_assert(is_whole);
		ck_assert_uint_eq(back.generation, 5);
		manifest_fini(&back);
	}
	/* A directory in the way of the second temporary file. */
	path_of("MANIFEST.copy.tmp", path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	m.generation = 7;
	ck_assert_int_eq(manifest_write(dir, &m, &d), ERR_IO);
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(manifest_read(dir, &back, &is_whole, &d), ERR_OK);
	ck_assert(is_whole);
	ck_assert_uint_eq(back.generation, 6);
	manifest_fini(&back);
	manifest_fini(&m);
	/* Reading survives a lack of memory too. */
	for (long n = 1;; n++) {
		mem_fault_at(n);
		enum err e = manifest_read(dir, &back, &is_whole, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		manifest_fini(&back);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			break;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
	}
}
END_TEST

Suite *manifest_suite(void)
{
	Suite *s = suite_create("manifest");
	TCase *t = tcase_create("manifest");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, ranges_hold_what_was_added);
	tcase_add_test(t, text_round_trips);
	tcase_add_test(t, nonsense_with_a_right_checksum_is_refused);
	tcase_add_test(t, either_copy_is_enough);
	tcase_add_test(t, later_generation_counts);
	tcase_add_test(t, failed_write_leaves_both);
	suite_add_tcase(s, t);
	return s;
}
