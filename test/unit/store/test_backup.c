/* Backups of a store that runs: what is held, and that a copy of it is a store. */

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/backup_copy.h"
#include "store/backup_list.h"
#include "test/unit/store/store_bed.h"

Suite *backup_suite(void);

enum { PARTITIONS = 4, TTL_MS = 60000 };

struct pin {
	struct store_pin op;
	bool is_done;
};

static void on_pinned(struct msg *m)
{
	((struct pin *)(void *)m)->is_done = true;
}

static void pin_begin(struct bed *b, struct pin *p, int64_t ttl_ms)
{
	*p = (struct pin){.op = {.reply_to = &b->mb, .done = on_pinned, .ttl_ms = ttl_ms}};
	store_pin(b->store, &p->op);
}

static enum err pin(struct bed *b, struct pin *p, int64_t ttl_ms)
{
	pin_begin(b, p, ttl_ms);
	ops_until(&b->mb, &p->is_done);
	return p->op.err;
}

static void pin_ok(struct bed *b, struct pin *p)
{
	enum err e = pin(b, p, TTL_MS);
	ck_assert_msg(e == ERR_OK, "%s", p->op.detail.text);
}

static void fill_hub(struct bed *b, const char *hub, uint32_t n)
{
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		struct store_partition *p = bed_find(b, hub, i);
		ck_assert_ptr_nonnull(p);
		ck_assert_int_eq(bed_append(b, p, bed_next_seq(p), n), ERR_OK);
		store_partition_drop(&p);
	}
}

static void make_hub(struct bed *b, const char *hub)
{
	struct store_partition *p = bed_create(b, hub, PARTITIONS);
	store_partition_drop(&p);
	fill_hub(b, hub, 10);
}

static void check_hub(struct bed *b, const char *hub, int64_t want)
{
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		struct store_partition *p = bed_find(b, hub, i);
		ck_assert_ptr_nonnull(p);
		ck_assert_int_eq(bed_next_seq(p), want);
		bed_check_all(b, p, want);
		store_partition_drop(&p);
	}
}

/* ---- rows ---------------------------------------------------------------------------- */

struct rows_write {
	struct store_rows_write op;
	bool is_done;
};

static void on_written(struct msg *m)
{
	((struct rows_write *)(void *)m)->is_done = true;
}

static void write_row(struct bed *b, const char *key, const char *content)
{
	const struct store_row row = {.kind = STORE_ROW_OFFSET,
				      .key = span_str(key),
				      .content = span_str(content)};
	struct rows_write w = {.op = {.reply_to = &b->mb,
				      .done = on_written,
				      .shard = store_shard_of(b->store, span_str(key)),
				      .rows = &row,
				      .n = 1}};
	store_rows_write(b->store, &w.op);
	ops_until(&b->mb, &w.is_done);
	ck_assert_int_eq(w.op.err, ERR_OK);
}

struct rows_scan {
	struct store_rows_scan op;
	bool is_done;
	unsigned n;
	unsigned sum;
	unsigned greatest;
};

static void on_scanned(struct msg *m)
{
	((struct rows_scan *)(void *)m)->is_done = true;
}

static enum err on_row(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct rows_scan *s = arg;
	(void)shard;
	(void)key;
	char text[32] = "";
	ck_assert_int_eq(span_to_cstr(content, text, sizeof text), ERR_OK);
	s->n++;
	unsigned v = (unsigned)atoi(text);
	s->sum += v;
	s->greatest = v > s->greatest ? v : s->greatest;
	return ERR_OK;
}

static void check_rows(struct bed *b, unsigned n, unsigned sum)
{
	struct rows_scan s = {.op = {.reply_to = &b->mb,
				     .done = on_scanned,
				     .kind = STORE_ROW_OFFSET,
				     .row = on_row}};
	s.op.arg = &s;
	store_rows_scan(b->store, &s.op);
	ops_until(&b->mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	ck_assert_uint_eq(s.n, n);
	ck_assert_uint_eq(s.sum, sum);
}

/* ---- pins ------------------------------------------------------------------------------ */

static bool is_there(const char *dir, const char *name)
{
	char path[300];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

static void read_set(struct bed *b, const struct str *files, struct backup_set *set)
{
	struct err_detail d = {""};
	set->volumes = store_volumes(b->store);
	store_uuid_text(b->store, set->store_uuid);
	clock_iso(clock_wall_ms(), set->made);
	ck_assert_int_eq(backup_set_add_lines(set, span_of(files->p, files->len), &d), ERR_OK);
	enum err e = backup_set_complete(set, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

/* Every file that is listed is there, as it is listed. */
static void check_files(struct bed *b, const struct str *files, struct backup_set *set)
{
	struct err_detail d = {""};
	enum err e;
	read_set(b, files, set);
	unsigned exports = 0;
	for (size_t i = 0; i < set->n; i++) {
		const struct backup_file *f = &set->v[i];
		uint64_t size;
		uint32_t crc;
		int fd = open(store_volume_dir(b->store, f->volume), O_RDONLY | O_DIRECTORY);
		ck_assert_int_ge(fd, 0);
		e = backup_file_crc(fd, f->source, &size, &crc, &d);
		close(fd);
		ck_assert_msg(e == ERR_OK, "%s", d.text);
		ck_assert_uint_eq(size, f->size);
		ck_assert_uint_eq(crc, f->crc);
		exports += strstr(f->path, ".exp") != NULL;
	}
	ck_assert_uint_eq(exports, 1);
}

START_TEST(pin_lists_what_is_there_and_ends)
{
	struct bed b;
	struct pin p;
	struct pin other;
	struct backup_set set = {.n = 0};
	bed_init(&b);
	bed_volumes(&b, 2);
	bed_open(&b);
	make_hub(&b, "h");
	pin_ok(&b, &p);
	ck_assert(is_there(b.dir, "pinned"));
	ck_assert(is_there(b.more[0], "pinned"));
	ck_assert_int_eq(pin(&b, &other, TTL_MS), ERR_EXISTS);
	ck_assert_int_eq(store_pin_renew(b.store, p.op.id), ERR_OK);
	ck_assert_int_eq(store_pin_renew(b.store, p.op.id + 1), ERR_NOT_FOUND);
	store_unpin(b.store, p.op.id + 1);	/* nobody's */
	check_files(&b, &p.op.files, &set);
	store_unpin(b.store, p.op.id);
	ck_assert_int_eq(store_pin_renew(b.store, p.op.id), ERR_NOT_FOUND);
	str_fini(&p.op.files);
	backup_set_fini(&set);
	/* At once again. */
	pin_ok(&b, &p);
	check_files(&b, &p.op.files, &set);
	backup_set_fini(&set);
	str_fini(&p.op.files);
	ck_assert_int_eq(pin(&b, &other, 0), ERR_EXISTS);
	/* The store stops while it is held. */
	bed_close(&b);
	ck_assert(!is_there(b.dir, "pinned"));
	ck_assert(!is_there(b.more[0], "pinned"));
	bed_open(&b);
	ck_assert_int_eq(pin(&b, &other, 0), ERR_INVALID);
	ck_assert_int_eq(pin(&b, &other, STORE_PIN_TTL_MAX_MS + INT64_C(1)), ERR_INVALID);
	store_close(b.store);
	ck_assert_int_eq(pin(&b, &other, TTL_MS), ERR_STOPPING);
	bed_fini(&b);
}
END_TEST

START_TEST(pin_that_is_not_renewed_runs_out)
{
	struct bed b;
	struct pin p;
	bed_init(&b);
	bed_open(&b);
	make_hub(&b, "h");
	ck_assert_int_eq(pin(&b, &p, 30), ERR_OK);
	str_fini(&p.op.files);
	int64_t end_ms = clock_mono_ms() + 20000;
	while (is_there(b.dir, "pinned") && clock_mono_ms() < end_ms) {
		struct timespec ts = {.tv_nsec = 5000000};
		nanosleep(&ts, NULL);
	}
	ck_assert(!is_there(b.dir, "pinned"));
	ck_assert_int_eq(store_pin_renew(b.store, p.op.id), ERR_NOT_FOUND);
	pin_ok(&b, &p);
	str_fini(&p.op.files);
	store_unpin(b.store, p.op.id);
	bed_fini(&b);
}
END_TEST

/* The next one is asked for before the last one's thread knows of its end. */
START_TEST(pins_follow_each_other_at_once)
{
	struct bed b;
	struct pin p;
	bed_init(&b);
	bed_open(&b);
	make_hub(&b, "h");
	for (int i = 0; i < 40; i++) {
		pin_ok(&b, &p);
		str_fini(&p.op.files);
		store_unpin(b.store, p.op.id);
	}
	bed_fini(&b);
}
END_TEST

START_TEST(what_an_earlier_process_pinned_goes_at_the_next_start)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	bed_close(&b);
	ck_assert_int_eq(mkdir(bed_path(&b, "pinned"), 0700), 0);
	FILE *f = fopen(bed_path(&b, "pinned/0000000001.exp"), "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	bed_open(&b);
	ck_assert(!is_there(b.dir, "pinned"));
	bed_fini(&b);
}
END_TEST

/* ---- copies -------------------------------------------------------------------------------- */

/* A copy into root/backup. */
static void copy(struct bed *b, uint64_t *missing)
{
	struct pin p;
	pin_ok(b, &p);
	struct backup_set set = {.n = 0};
	struct backup_dir to;
	struct err_detail d = {""};
	char path[100];
	const char *dirs[LIMIT_VOLUMES];
	const struct backup_progress none = {.step = NULL};
	check_files(b, &p.op.files, &set);
	for (uint32_t i = 0; i < set.volumes; i++) {
		dirs[i] = store_volume_dir(b->store, i);
	}
	snprintf(path, sizeof path, "%s/backup", b->root);
	ck_assert_int_eq(backup_dir_open(path, true, &to, &d), ERR_OK);
	*missing = backup_dir_missing(&to, &set);
	enum err e = backup_dir_fill(&to, &set, dirs, &none, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	backup_dir_close(&to);
	store_unpin(b->store, p.op.id);
	str_fini(&p.op.files);
	backup_set_fini(&set);
}

/* Restores root/backup below root/`name` and opens that; `out` shares root. */
static void open_restored(const struct bed *b, const char *name, struct bed *out)
{
	struct backup_dir from;
	struct err_detail d = {""};
	char path[100];
	const char *dirs[LIMIT_VOLUMES];
	const struct backup_progress none = {.step = NULL};
	*out = *b;
	out->store = NULL;
	mailbox_init(&out->mb, NULL, NULL);
	snprintf(out->dir, sizeof out->dir, "%.40s/%.20s", b->root, name);
	dirs[0] = out->options.dir = out->dir;
	for (uint32_t i = 0; i < b->options.n_more_dirs; i++) {
		snprintf(out->more[i], sizeof out->more[i], "%.40s/%.20s-more%u", b->root, name, i);
		dirs[i + 1] = out->more_dirs[i] = out->more[i];
	}
	out->options.more_dirs = out->more_dirs;
	snprintf(path, sizeof path, "%s/backup", b->root);
	ck_assert_int_eq(backup_dir_open(path, false, &from, &d), ERR_OK);
	enum err e = backup_dir_restore(&from, dirs, b->options.n_more_dirs + 1, &none, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	backup_dir_close(&from);
	bed_open(out);
}

static void close_restored(struct bed *r)
{
	bed_close(r);
	mailbox_fini(&r->mb);
}

START_TEST(copy_is_the_store_as_it_was)
{
	for (uint32_t volumes = 1; volumes <= 3; volumes++) {
		struct bed b;
		struct bed r;
		uint64_t first;
		uint64_t second;
		bed_init(&b);
		bed_volumes(&b, volumes);
		bed_open(&b);
		make_hub(&b, "h");
		write_row(&b, "group", "5");
		write_row(&b, "other", "7");
		copy(&b, &first);
		make_hub(&b, "later");
		fill_hub(&b, "h", 3);
		write_row(&b, "group", "100");
		char mine[37];
		char theirs[37];
		store_uuid_text(b.store, mine);
		open_restored(&b, "new1", &r);
		store_uuid_text(r.store, theirs);
		ck_assert_str_eq(mine, theirs);
		ck_assert_ptr_null(bed_find(&r, "later", 0));
		check_rows(&r, 2, 12);
		check_hub(&r, "h", 10);
		/* It goes on, and stops and starts. */
		for (int round = 0; round < 3; round++) {
			fill_hub(&r, "h", 1);
			bed_close(&r);
			bed_open(&r);
			check_hub(&r, "h", 11 + round);
			check_rows(&r, 2, 12);
		}
		make_hub(&r, "own");
		close_restored(&r);
		/* The second is small, and has all of it. */
		copy(&b, &second);
		ck_assert_uint_gt(second, 0);
		open_restored(&b, "new2", &r);
		check_hub(&r, "h", 13);
		check_hub(&r, "later", 10);
		check_rows(&r, 2, 107);
		/* A copy of the copy, which had no segment of its own yet. */
		close_restored(&r);
		bed_fini(&b);
	}
}
END_TEST

/* Somebody appends, and then commits what he has read, all the while. */
struct committer {
	struct bed bed;		/* the store's, with a mailbox of its own */
	atomic_bool is_over;
	unsigned n;
};

static void *commit_main(void *arg)
{
	struct committer *c = arg;
	while (!atomic_load(&c->is_over)) {
		char text[16];
		fill_hub(&c->bed, "h", 1);
		snprintf(text, sizeof text, "%u", ++c->n);
		write_row(&c->bed, "a", text);
		write_row(&c->bed, "bb", text);
		write_row(&c->bed, "ccc", text);
	}
	return NULL;
}

START_TEST(offsets_of_a_copy_are_not_ahead_of_its_events)
{
	struct bed b;
	struct bed r;
	uint64_t missing;
	bed_init(&b);
	bed_volumes(&b, 3);
	b.options.segment_max_bytes = 1 << 20;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", PARTITIONS);
	store_partition_drop(&p);
	for (int round = 0; round < 3; round++) {
		static struct committer c;
		pthread_t thread;
		c.bed = b;
		mailbox_init(&c.bed.mb, NULL, NULL);
		atomic_store(&c.is_over, false);
		ck_assert_int_eq(pthread_create(&thread, NULL, commit_main, &c), 0);
		struct timespec ts = {.tv_nsec = 50000000};
		nanosleep(&ts, NULL);
		copy(&b, &missing);
		atomic_store(&c.is_over, true);
		pthread_join(thread, NULL);
		mailbox_fini(&c.bed.mb);
		char name[16];
		snprintf(name, sizeof name, "new%d", round);
		open_restored(&b, name, &r);
		int64_t least = INT64_MAX;
		for (uint32_t i = 0; i < PARTITIONS; i++) {
			p = bed_find(&r, "h", i);
			int64_t next = bed_next_seq(p);
			least = next < least ? next : least;
			store_partition_drop(&p);
		}
		struct rows_scan s = {.op = {.reply_to = &r.mb,
					     .done = on_scanned,
					     .kind = STORE_ROW_OFFSET,
					     .row = on_row}};
		s.op.arg = &s;
		store_rows_scan(r.store, &s.op);
		ops_until(&r.mb, &s.is_done);
		ck_assert_int_ge(least, (int64_t)s.greatest);
		close_restored(&r);
	}
	bed_fini(&b);
}
END_TEST

START_TEST(copy_of_a_copy_is_one)
{
	struct bed b;
	struct bed r;
	struct bed rr;
	uint64_t missing;
	bed_init(&b);
	bed_open(&b);
	make_hub(&b, "h");
	copy(&b, &missing);
	bed_close(&b);
	open_restored(&b, "new1", &r);
	copy(&r, &missing);
	close_restored(&r);
	open_restored(&b, "new2", &rr);
	check_hub(&rr, "h", 10);
	close_restored(&rr);
	bed_fini(&b);
}
END_TEST

static void wait_gone(const struct bed *b, const char *name)
{
	int64_t end_ms = clock_mono_ms() + 30000;
	while (is_there(b->dir, name) && clock_mono_ms() < end_ms) {
		struct timespec ts = {.tv_nsec = 20000000};
		nanosleep(&ts, NULL);
	}
	ck_assert_msg(!is_there(b->dir, name), "%s", name);
}

/* Most of the log was removed, in what is left the rest of a hub was put together. */
START_TEST(copy_of_a_cleaned_store_is_whole)
{
	struct bed b;
	struct bed r;
	uint64_t missing;
	bed_init(&b);
	b.options.segment_max_bytes = 1 << 20;
	bed_open(&b);
	make_hub(&b, "h");
	make_hub(&b, "gone");
	write_row(&b, "group", "5");
	struct store_partition *p = bed_find(&b, "gone", 0);
	for (int i = 0; i < 300; i++) {
		ck_assert_int_eq(bed_append(&b, p, bed_next_seq(p), 500), ERR_OK);
	}
	store_partition_drop(&p);
	struct catalog_command cmd = ops_create("gone", 0);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	/* Each makes an export, and two of them let the log go. */
	copy(&b, &missing);
	copy(&b, &missing);
	wait_gone(&b, "volume/segments/0000000001.mdb");
	copy(&b, &missing);
	for (int round = 0; round < 2; round++) {
		open_restored(&b, round == 0 ? "new1" : "new2", &r);
		check_hub(&r, "h", 10);
		check_rows(&r, 1, 5);
		ck_assert_ptr_null(bed_find(&r, "gone", 0));
		fill_hub(&r, "h", 5);
		bed_close(&r);
		bed_open(&r);
		check_hub(&r, "h", 15);
		close_restored(&r);
		/* Also when nothing came between two of them. */
		copy(&b, &missing);
	}
	bed_fini(&b);
}
END_TEST

static enum err read_at(struct bed *b, struct store_partition *p, int64_t seq)
{
	struct ops_read r = {.op = {.reply_to = &b->mb,
				    .done = ops_read_done,
				    .partition = p,
				    .from = seq,
				    .max_bytes = 1000}};
	store_read(b->store, &r.op);
	ops_until(&b->mb, &r.is_done);
	store_batches_drop(&r.op.out);
	return r.op.err;
}

static unsigned told;

static void on_damage(void *arg, const char *dir, const char *path)
{
	(void)arg;
	(void)dir;
	told += strcmp(path, "volume/segments/0000000002.mdb") == 0 ||
		strcmp(path, "volume/segments/0000000003.mdb") == 0;
}

/* Of one segment a byte is wrong, another is not there. */
static void damage(struct bed *b)
{
	FILE *f = fopen(bed_path(b, "volume/segments/0000000002.mdb"), "r+");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, 300000, SEEK_SET), 0);
	fputs("#", f);
	fclose(f);
	ck_assert_int_eq(unlink(bed_path(b, "volume/segments/0000000003.mdb")), 0);
}

static void on_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

START_TEST(copy_of_a_damaged_store_misses_the_same)
{
	struct bed b;
	struct bed r;
	struct pin p;
	struct backup_set set = {.n = 0};
	struct backup_dir to;
	struct err_detail d = {""};
	const struct backup_progress none = {.step = NULL};
	char path[100];
	bed_init(&b);
	b.options.segment_max_bytes = 1 << 20;
	bed_open(&b);
	struct store_partition *q = bed_create(&b, "h", 1);
	for (int i = 0; i < 500; i++) {
		ck_assert_int_eq(bed_append(&b, q, bed_next_seq(q), 500), ERR_OK);
	}
	int64_t end = bed_next_seq(q);
	store_partition_drop(&q);
	bed_close(&b);
	damage(&b);
	log_sink(on_line, NULL);
	bed_open(&b);
	enum err want[20];
	q = bed_find(&b, "h", 0);
	unsigned bad = 0;
	for (int i = 0; i < 20; i++) {
		want[i] = read_at(&b, q, end * i / 20);
		bad += want[i] == ERR_CORRUPT;
	}
	ck_assert_uint_gt(bad, 0);
	ck_assert_uint_lt(bad, 20);
	store_partition_drop(&q);
	pin_ok(&b, &p);
	read_set(&b, &p.op.files, &set);
	const char *dirs[] = {b.dir};
	snprintf(path, sizeof path, "%s/backup", b.root);
	ck_assert_int_eq(backup_dir_open(path, true, &to, &d), ERR_OK);
	ck_assert_int_ne(backup_dir_fill(&to, &set, dirs, &none, &d), ERR_OK);
	ck_assert_ptr_nonnull(strstr(d.text, "volume/segments/0000000002.mdb"));
	ck_assert_int_eq(backup_dir_accept_damage(&to, &set, dirs, &none, on_damage, NULL, &d), ERR_OK);
	ck_assert_uint_eq(told, 2);
	ck_assert_int_eq(backup_dir_fill(&to, &set, dirs, &none, &d), ERR_OK);
	backup_dir_close(&to);
	store_unpin(b.store, p.op.id);
	str_fini(&p.op.files);
	backup_set_fini(&set);
	open_restored(&b, "new1", &r);
	q = bed_find(&r, "h", 0);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(read_at(&r, q, end * i / 20), want[i]);
	}
	ck_assert_int_eq(bed_append(&r, q, end, 1), ERR_OK);
	store_partition_drop(&q);
	close_restored(&r);
	log_sink(NULL, NULL);
	bed_fini(&b);
}
END_TEST

/* Events that come while the pin is made are in the copy or not, without a gap. */
START_TEST(copy_made_under_load_has_no_gap)
{
	enum { N = 400 };
	struct bed b;
	struct bed r;
	uint64_t missing;
	bed_init(&b);
	bed_volumes(&b, 2);
	bed_open(&b);
	make_hub(&b, "h");
	static struct ops_append a[N];
	struct store_partition *p[PARTITIONS];
	int64_t next[PARTITIONS];
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		p[i] = bed_find(&b, "h", i);
		next[i] = bed_next_seq(p[i]);
	}
	for (uint32_t i = 0; i < N; i++) {
		ops_append_init(&a[i], p[i % PARTITIONS], &b.mb, next[i % PARTITIONS], 1, 200, NULL);
		next[i % PARTITIONS]++;
		store_append(b.store, &a[i].op);
	}
	copy(&b, &missing);
	for (uint32_t i = 0; i < N; i++) {
		ops_until(&b.mb, &a[i].is_done);
		ck_assert_int_eq(a[i].op.err, ERR_OK);
	}
	open_restored(&b, "new1", &r);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		struct store_partition *q = bed_find(&r, "h", i);
		int64_t end = bed_next_seq(q);
		ck_assert_int_ge(end, 10);
		ck_assert_int_le(end, next[i]);
		bed_check_all(&r, q, end);
		store_partition_drop(&q);
		store_partition_drop(&p[i]);
	}
	close_restored(&r);
	bed_fini(&b);
}
END_TEST

Suite *backup_suite(void)
{
	Suite *s = suite_create("backup");
	TCase *t = tcase_create("backup");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, pin_lists_what_is_there_and_ends);
	tcase_add_test(t, pin_that_is_not_renewed_runs_out);
	tcase_add_test(t, pins_follow_each_other_at_once);
	tcase_add_test(t, what_an_earlier_process_pinned_goes_at_the_next_start);
	tcase_add_test(t, copy_is_the_store_as_it_was);
	tcase_add_test(t, offsets_of_a_copy_are_not_ahead_of_its_events);
	tcase_add_test(t, copy_of_a_copy_is_one);
	tcase_add_test(t, copy_of_a_cleaned_store_is_whole);
	tcase_add_test(t, copy_of_a_damaged_store_misses_the_same);
	tcase_add_test(t, copy_made_under_load_has_no_gap);
	suite_add_tcase(s, t);
	return s;
}
