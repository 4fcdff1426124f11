#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "base/limits.h"
#include "base/mem.h"

/* A child appends and tells, by one byte for each, what was acknowledged; it is
 * killed in the middle; everything it told of must be there, once. */

static struct bed bed;

static void setup(void)
{
	bed_init(&bed);
}
static void teardown(void)
{
	bed_fini(&bed);
}

enum { KILL_PARTS = 6, IN_FLIGHT = 8 };

struct child_entry {
	struct volume_entry e;
	struct volume_command command;
	struct buf *batch;
	uint32_t p;
};

static int told_fd;

static void on_child_done(struct msg *m)
{
	struct child_entry *c = (struct child_entry *)(void *)m;
	char byte = (char)c->p;
	if (write(told_fd, &byte, 1) != 1) {
		_exit(2);
	}
	buf_drop(&c->batch);
	mem_free(c);
	bed.outstanding--;
}

static void child_append(uint32_t p, size_t value)
{
	struct child_entry *c = MEM_NEW(struct child_entry);
	struct batch_builder build;
	uint8_t *v = mem_alloc(value);
	/* As the bed fills its values, so that it can check them. */
	put_u32(v, p);
	put_u64(v + 4, (uint64_t)bed.next_seq[p]);
	memset(v + 12, (int)((p + (uint64_t)bed.next_seq[p]) & 0xff), value - 12);
	struct span part = span_of(v, value);
	batch_builder_init(&build, value, LIMIT_BATCH);
	batch_builder_add(&build, &part, 1);
	mem_free(v);
	if (batch_builder_finish(&build, &c->batch) != ERR_OK) {
		_exit(3);
	}
	batch_seal(c->batch->data, c->batch->len, bed.now_ms);
	batch_place(c->batch->data, bed.next_seq[p]);
	c->p = p;
	c->command = (struct volume_command){
		.kind = VOLUME_BATCH,
		.encoding = BATCH_AMQP,
		.part = bed_part(p),
		.count = 1,
		.base_seq = bed.next_seq[p]++,
		.append_ms = bed.now_ms,
		.max_timestamp_ms = bed.now_ms,
		.payload = span_of(c->batch->data, c->batch->len),
		.key = p % 2 == 0 ? span_str("key") : span_of(NULL, 0),
	};
	bed.now_ms++;
	uint32_t shard = bed_shard(&bed, p);
	c->e = (struct volume_entry){
		.reply_to = &bed.box,
		.done = on_child_done,
		.shard = shard,
		.term = 1,
		.index = bed.next_index[shard]++,
		.commands = &c->command,
		.n_commands = 1,
	};
	bed.outstanding++;
	volume_append(bed.v, &c->e);
}

static void child_main(bool unclean)
{
	bed_open(&bed, unclean);
	for (uint32_t i = 0;; i++) {
		child_append(i % KILL_PARTS, 100 + i % 7 * 9000);
		while (bed.outstanding >= IN_FLIGHT) {
			msg_run_all(mailbox_wait(&bed.box, INT64_MAX));
		}
	}
}

static void on_range(void *arg, const struct volume_range *r)
{
	int64_t *next = arg;
	next[(r->part.hub_id - 1) * 4 + r->part.partition] = r->next_seq;
	if (r->last_append_ms >= bed.now_ms) {
		bed.now_ms = r->last_append_ms + 1;
	}
}

/* One life of the child: killed after so many acknowledgements. */
static void live_and_die(bool unclean, int acks)
{
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(ends[0]);
		told_fd = ends[1];
		child_main(unclean);
	}
	close(ends[1]);
	int64_t told[KILL_PARTS];
	memcpy(told, bed.next_seq, sizeof told);
	char byte;
	for (int i = 0; read(ends[0], &byte, 1) == 1; i++) {
		ck_assert_int_lt(byte, KILL_PARTS);
		told[(int)byte]++;
		if (i == acks) {
			kill(pid, SIGKILL);
		}
	}
	close(ends[0]);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	struct err_detail d;
	enum err e = bed_try_open(&bed, true, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	/* What was not acknowledged may be there, what was must be. */
	memset(bed.next_seq, 0, sizeof bed.next_seq);
	volume_ranges(bed.v, on_range, bed.next_seq);
	for (uint32_t p = 0; p < KILL_PARTS; p++) {
		ck_assert_int_ge(bed.next_seq[p], told[p]);
	}
	for (uint32_t i = 0; i < bed.options.shards; i++) {
		struct volume_shard_info info;
		volume_shard_info(bed.v, i, &info);
		bed.next_index[i] = info.last_index + 1;
	}
	bed_start(&bed);
	bed_check_all(&bed);
	bed_close(&bed);
}

START_TEST(acknowledged_entries_survive_kill)
{
	for (int life = 0; life < 8; life++) {
		live_and_die(life > 0, 20 + life * 37);
	}
	ck_assert(bed_has_file(&bed, 3, ".mdb"));
}
END_TEST

/* A file-size limit makes LMDB's write fail as a full disk would. */
START_TEST(failed_write_ends_the_process_unacknowledged)
{
	int ends[2];
	int log_ends[2];
	bed_open(&bed, false);
	bed_append(&bed, 0, 1, 1000);
	bed_close(&bed);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(pipe(log_ends), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(log_ends[1], STDERR_FILENO);
		close(ends[0]);
		close(log_ends[0]);
		close(log_ends[1]);
		told_fd = ends[1];
		signal(SIGXFSZ, SIG_IGN);
		struct rlimit limit = {400000, 400000};
		setrlimit(RLIMIT_FSIZE, &limit);
		child_main(true);
	}
	close(ends[1]);
	close(log_ends[1]);
	int64_t told = 0;
	char byte;
	while (read(ends[0], &byte, 1) == 1) {
		told++;
	}
	char text[4096];
	size_t n = 0;
	ssize_t got;
	while ((got = read(log_ends[0], text + n, sizeof text - 1 - n)) > 0) {
		n += (size_t)got;
	}
	text[n] = '\0';
	close(ends[0]);
	close(log_ends[0]);
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 1);
	ck_assert_ptr_nonnull(strstr(text, "VOLUME-WRITE-FAILED"));
	ck_assert_ptr_nonnull(strstr(text, "0000000001.mdb"));
	struct err_detail d;
	ck_assert_int_eq(bed_try_open(&bed, true, &d), ERR_OK);
	int64_t there = 0;
	memset(bed.next_seq, 0, sizeof bed.next_seq);
	volume_ranges(bed.v, on_range, bed.next_seq);
	for (uint32_t p = 0; p < KILL_PARTS; p++) {
		there += bed.next_seq[p];
	}
	ck_assert_int_ge(there, told + 1);
	bed_start(&bed);
	for (uint32_t p = 0; p < KILL_PARTS; p++) {
		bed_check_read(&bed, p, 0, bed.next_seq[p]);
	}
}
END_TEST

Suite *kill_suite(void)
{
	Suite *s = suite_create("kill");
	TCase *t = tcase_create("kill");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, acknowledged_entries_survive_kill);
	tcase_add_test(t, failed_write_ends_the_process_unacknowledged);
	suite_add_tcase(s, t);
	return s;
}
