/* power_check: cuts the power at places of an operation log, makes the directory that
 * is left, and has the store open it.
 *
 *   power_check LOG JOURNAL WORK-DIRECTORY [options]
 *     --seed N        of all choices
 *     --seconds N     how long, by default 60
 *     --workers N     processes beside each other, by default three per core: they wait
 *                     for threads of their own most of the time
 *     --dirs A,B,...  data directories below the log's root, by default "data"
 *     --preload FILE  the library; then some images are cut again in the writes of
 *                     their own recovery
 *     --from DIR      instead of the log: this directory is opened, and what that
 *                     writes is cut; --must N and --may N are its moment (oracle.h)
 *     --backup        the log is of a backup in "backup" below its root: each image of
 *                     it is restored, and that is looked at
 *     --restored      the log is of a restore: images without VERSION are no store yet
 *     --after N       cuts beyond this place only
 *     --ignore GLOB   syncs of these files count for nothing: the check must fail
 *     --cut N --choice N [--cut2 N --choice2 N --log2 FILE]   one image, which stays
 *
 * Each image is opened by a process of its own, so that one that dies or hangs is a
 * failure like others. Status 1 when an image was not as it must be. */

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "test/fault/power/image.h"
#include "test/fault/power/oplog.h"
#include "test/fault/power/probe.h"

enum {
	DIRS_MAX = 8,
	WORKERS_PER_CORE = 3,
	IMAGE_SECONDS = 60,	/* one that takes longer hangs */
	PASS_IMAGES = 200,	/* of one walk over the log */
	AGAIN_ONE_IN = 25,	/* images whose recovery is cut too ... */
	TWICE_ONE_IN = 4,	/* images that are read again after another start */
	AGAIN_IMAGES = 6,	/* ... at so many places */
	FAILURES_MAX = 3,	/* then a worker ends */
	WHY_MAX = 1500,
};

struct log {
	const uint8_t *p;
	uint64_t len;
	uint64_t *at;		/* of each record */
	size_t n;
	size_t *names;		/* records after which names have changed */
	size_t n_names;
};

struct counts {
	atomic_ullong images;
	atomic_ullong again;
	atomic_ullong failures;
	atomic_ullong slowest_ms;
};

static struct {
	const char *log;
	const char *journal;
	const char *work;
	uint64_t seed;
	int seconds;
	int workers;
	const char *dirs[DIRS_MAX];
	uint32_t n_dirs;
	const char *preload;
	const char *ignore;
	const char *from;
	struct moment moment;	/* 0: that of the cut */
	uint64_t after;
	bool is_backup;
	bool is_restored;
	bool is_single;
	uint64_t cut;
	uint64_t choice;
	uint64_t cut2;
	uint64_t choice2;
	const char *log2;
} opt = {.seed = 1, .seconds = 60, .dirs = {"data"}, .n_dirs = 1};
static struct counts *counts;
static const char *self;

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the log --------------------------------------------------------------------------- */

static struct oplog_head head_at(const struct log *l, size_t i)
{
	struct oplog_head h;
	memcpy(&h, l->p + l->at[i], sizeof h);
	return h;
}

static uint64_t end_of(const struct log *l, size_t i)
{
	return l->at[i] + head_at(l, i).total;
}

static bool log_open(struct log *l, const char *path)
{
	*l = (struct log){0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0) {
		perror(path);
		return false;
	}
	l->len = (uint64_t)st.st_size;
	void *p = l->len > 0 ? mmap(NULL, l->len, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
	close(fd);
	if (p == MAP_FAILED || p == NULL) {
		fprintf(stderr, "%s: empty\n", path);
		return false;
	}
	l->p = p;
	size_t cap = l->len / sizeof(struct oplog_head) + 1;
	l->at = malloc(cap * sizeof *l->at);
	l->names = malloc(cap * sizeof *l->names);
	if (l->at == NULL || l->names == NULL) {
		abort();
	}
	for (uint64_t at = 0; at + sizeof(struct oplog_head) <= l->len;) {
		l->at[l->n] = at;
		struct oplog_head h = head_at(l, l->n);
		if (h.magic != OPLOG_MAGIC || h.total > l->len - at) {
			break;	/* the end of a process that was killed */
		}
		bool is_name = h.kind >= OPLOG_TRUNCATE || h.kind == OPLOG_START ||
			       (h.kind == OPLOG_OPEN && (h.a & O_CREAT) != 0);
		if (is_name) {
			l->names[l->n_names++] = l->n;
		}
		l->n++;
		at += h.total;
	}
	return l->n > 0;
}

static void log_close(struct log *l)
{
	munmap((void *)(uintptr_t)l->p, l->len);
	free(l->at);
	free(l->names);
}

/* Applies the records up to `to`; those of syncs that are to be ignored are not. */
static void feed(struct sim *s, const struct log *l, size_t *next, size_t to)
{
	static uint64_t ignored[1 << 12];
	static size_t n_ignored;
	for (; *next < to; (*next)++) {
		struct oplog_head h = head_at(l, *next);
		const uint8_t *record = l->p + l->at[*next];
		bool is_ignored = false;
		if (opt.ignore != NULL && h.kind == OPLOG_OPEN) {
			char path[PATH_MAX];
			snprintf(path, sizeof path, "%.*s", (int)h.path_len,
				 (const char *)record + sizeof h);
			if (fnmatch(opt.ignore, path, 0) == 0) {
				ignored[n_ignored++ % (1 << 12)] = h.handle;
			}
		}
		for (size_t i = 0; h.kind == OPLOG_SYNC_BEGIN && i < (1 << 12) && !is_ignored; i++) {
			is_ignored = ignored[i] == h.handle;
		}
		if (!is_ignored) {
			sim_apply(s, record, l->at[*next]);
		}
	}
}

/* ---- one image --------------------------------------------------------------------------- */

static void whole_dirs(const char *image, char paths[DIRS_MAX][PATH_MAX],
		       const char *out[DIRS_MAX])
{
	for (uint32_t i = 0; i < opt.n_dirs; i++) {
		snprintf(paths[i], PATH_MAX, "%s/%s", image, opt.dirs[i]);
		out[i] = paths[i];
	}
}

static void last_words(const char *path, char *out, size_t n)
{
	FILE *f = fopen(path, "re");
	out[0] = '\0';
	if (f == NULL) {
		return;
	}
	if (fseek(f, -(long)(n - 1), SEEK_END) != 0) {
		rewind(f);
	}
	size_t got = fread(out, 1, n - 1, f);
	out[got] = '\0';
	fclose(f);
	for (char *p = out; *p != '\0'; p++) {
		*p = *p == '\n' ? '|' : *p;
	}
}

/* Runs in the child; `to` takes the reason. */
static void child_main(const char *image, const struct oracle *o, struct moment at, bool is_twice,
		       int to)
{
	char paths[DIRS_MAX][PATH_MAX];
	const char *dirs[DIRS_MAX];
	char other[PATH_MAX];
	const char *why = NULL;
	snprintf(other, sizeof other, "%s%s", image, opt.is_backup ? ".restored" : "");
	whole_dirs(other, paths, dirs);
	alarm(IMAGE_SECONDS);
	if (opt.is_backup) {
		char backup[PATH_MAX + 8];
		snprintf(backup, sizeof backup, "%s/backup", image);
		struct image old = {.dir = other};
		image_fini(&old);
		(void)mkdir(other, 0700);
		why = probe_restore(backup, dirs, opt.n_dirs);
	}
	if (why == NULL) {
		why = probe_all(dirs, opt.n_dirs, o, at, is_twice);
	}
	if (why != NULL && write(to, why, strlen(why)) < 0) {
		_exit(4);
	}
	_exit(why != NULL ? 3 : 0);
}

/* A restore that was cut short: VERSION comes last. */
static bool is_no_store(const char *image)
{
	for (uint32_t i = 0; i < opt.n_dirs; i++) {
		char path[PATH_MAX];
		snprintf(path, sizeof path, "%s/%s/VERSION", image, opt.dirs[i]);
		if (access(path, F_OK) != 0) {
			return true;
		}
	}
	return false;
}

/* False, and why, when the image is not as it must be. */
static bool try_image(const char *image, const struct oracle *o, struct moment at, bool is_twice,
		      char why[WHY_MAX])
{
	char err_path[PATH_MAX];
	snprintf(err_path, sizeof err_path, "%s.err", image);
	int ends[2];
	double start = now_s();
	if (pipe2(ends, O_CLOEXEC) != 0) {
		abort();
	}
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		int err = open(err_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (err < 0 || dup2(err, 2) < 0) {
			_exit(4);
		}
		child_main(image, o, at, is_twice, ends[1]);
	}
	close(ends[1]);
	size_t n = 0;
	ssize_t got;
	while (pid > 0 && n < WHY_MAX / 2 &&
	       ((got = read(ends[0], why + n, WHY_MAX / 2 - n)) > 0 || errno == EINTR)) {
		n += got > 0 ? (size_t)got : 0;
	}
	why[n] = '\0';
	close(ends[0]);
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	unsigned long long ms = (unsigned long long)((now_s() - start) * 1000);
	if (ms > atomic_load(&counts->slowest_ms)) {
		atomic_store(&counts->slowest_ms, ms);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		return true;
	}
	if (n == 0) {
		char words[WHY_MAX / 2];
		last_words(err_path, words, sizeof words);
		snprintf(why, WHY_MAX, "%s %d: %s", WIFSIGNALED(status) ? "ended by signal" : "status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), words);
	}
	return false;
}

static void report(const char *why, const struct sim_choice *c, uint64_t cut, uint64_t choice,
		   const char *second)
{
	char text[64];
	char dirs[512] = "";
	for (uint32_t i = 0; i < opt.n_dirs; i++) {
		snprintf(dirs + strlen(dirs), sizeof dirs - strlen(dirs), "%s%s", i > 0 ? "," : "",
			 opt.dirs[i]);
	}
	sim_choice_text(c, text, sizeof text);
	atomic_fetch_add(&counts->failures, 1);
	printf("not ok power cut at %llu, %s: %s; seed=%llu; again: %s %s %s DIR --dirs %s --cut %llu "
	       "--choice %llu%s%s\n",
	       (unsigned long long)cut, text, why, (unsigned long long)opt.seed, self, opt.log,
	       opt.journal, dirs, (unsigned long long)cut, (unsigned long long)choice,
	       opt.is_backup ? " --backup" : opt.is_restored ? " --restored" : "", second);
	fflush(stdout);
}

/* ---- recovery, cut too ------------------------------------------------------------------- */

static bool record_recovery(const char *image, const char *log)
{
	unlink(log);
	pid_t pid = fork();
	if (pid == 0) {
		char real[PATH_MAX];
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		if (realpath(image, real) == NULL || null < 0 || dup2(null, 2) < 0) {
			_exit(4);
		}
		setenv("LD_PRELOAD", opt.preload, 1);
		setenv("POWER_ROOT", real, 1);
		setenv("POWER_LOG", log, 1);
		setenv("POWER_SYNC_US", "0", 1);
		char dirs[512] = "";
		for (uint32_t i = 0; i < opt.n_dirs; i++) {
			snprintf(dirs + strlen(dirs), sizeof dirs - strlen(dirs), "%s%s",
				 i > 0 ? "," : "", opt.dirs[i]);
		}
		alarm(IMAGE_SECONDS);
		execl(self, self, "--once", real, dirs, (char *)NULL);
		_exit(4);
	}
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int by_size(const void *a, const void *b)
{
	size_t x = *(const size_t *)a;
	size_t y = *(const size_t *)b;
	return x < y ? -1 : x > y;
}

/* Cuts the log of a recovery, that began with what `base` holds. */
static bool try_again(const char *image, struct sim *base, const char *log2,
		      const struct oracle *o, struct moment at, uint64_t seed, char why[WHY_MAX],
		      char *second, size_t second_size)
{
	struct log l;
	struct image im = {.dir = image};
	size_t cuts[AGAIN_IMAGES];
	bool good = true;
	if (!log_open(&l, log2)) {
		snprintf(why, WHY_MAX, "its recovery left no log");
		return false;
	}
	for (int i = 0; i < AGAIN_IMAGES; i++) {
		cuts[i] = 1 + sim_mix(seed, (uint64_t)i) % l.n;
		if (opt.log2 != NULL) {
			for (cuts[i] = 0; cuts[i] < l.n && end_of(&l, cuts[i]) <= opt.cut2; cuts[i]++) {
			}
		}
	}
	qsort(cuts, AGAIN_IMAGES, sizeof cuts[0], by_size);
	size_t next = 0;
	for (int i = 0; good && i < (opt.log2 != NULL ? 1 : AGAIN_IMAGES); i++) {
		feed(base, &l, &next, cuts[i]);
		uint64_t choice2 = opt.log2 != NULL ? opt.choice2 : sim_mix(seed, 1000 + (uint64_t)i);
		struct sim_choice c = sim_choose(base, choice2);
		image_make(&im, base, &c);
		good = try_image(image, o, at, true, why);
		atomic_fetch_add(&counts->again, 1);
		if (!good) {
			snprintf(second, second_size, " --cut2 %llu --choice2 %llu --log2 %s",
				 (unsigned long long)end_of(&l, cuts[i] - 1),
				 (unsigned long long)choice2, log2);
		}
	}
	if (!opt.is_single) {
		image_fini(&im);
	}
	log_close(&l);
	return good;
}

/* ---- a worker ------------------------------------------------------------------------------ */

struct worker {
	const struct log *log;
	const struct oracle *oracle;
	int number;
	char image[PATH_MAX];
	char image2[PATH_MAX];
	char log2[PATH_MAX];
};

static bool one(const struct worker *w, struct image *im, const struct sim *s, uint64_t cut,
		uint64_t choice, bool is_again)
{
	char why[WHY_MAX];
	char second[PATH_MAX + 128] = "";
	struct sim_choice c = sim_choose(s, choice);
	image_make(im, s, &c);
	struct moment at = opt.moment.may != 0 ? opt.moment : (struct moment){cut, cut};
	bool is_twice = opt.is_single || sim_mix(choice, 8) % TWICE_ONE_IN == 0;
	/* When it has ended it must be one. */
	bool is_whole = cut == end_of(w->log, w->log->n - 1);
	bool is_tried = !opt.is_restored || is_whole || !is_no_store(im->dir);
	bool good = !is_tried || try_image(im->dir, w->oracle, at, is_twice, why);
	atomic_fetch_add(&counts->images, 1);
	if (good && is_again) {
		image_make(im, s, &c);
		struct sim *base = sim_new();
		sim_load(base, im->dir);
		if (opt.log2 != NULL || record_recovery(im->dir, w->log2)) {
			good = try_again(w->image2, base, opt.log2 != NULL ? opt.log2 : w->log2,
					 w->oracle, at, choice, why, second, sizeof second);
		} else {
			good = false;
			snprintf(why, sizeof why, "it does not open to be recorded");
		}
		sim_free(&base);
		if (opt.is_single) {
			/* What it was cut from stays too. */
			image_make(im, s, &c);
		}
	}
	if (!good) {
		report(why, &c, cut, choice, second);
	}
	return good;
}

static size_t pick_cut(const struct log *l, uint64_t r)
{
	size_t first = 0;	/* records that are before all cuts */
	while (first + 1 < l->n && end_of(l, first) <= opt.after) {
		first++;
	}
	if (r % 64 == 1) {
		return l->n;
	}
	/* Half of them near changes of names, which are few. */
	if (r % 2 == 0 && l->n_names > 0) {
		size_t at = l->names[sim_mix(r, 5) % l->n_names] + sim_mix(r, 6) % 8;
		at = at < first ? first : at;
		return at >= l->n ? l->n : at + 1;
	}
	return first + 1 + sim_mix(r, 7) % (l->n - first);
}

static void worker_main(struct worker *w, double until)
{
	struct image im = {.dir = w->image};
	size_t cuts[PASS_IMAGES];
	uint64_t pass = 0;
	int failures = 0;
	while (now_s() < until && failures < FAILURES_MAX) {
		uint64_t seed = sim_mix(opt.seed, (uint64_t)w->number << 32 | pass++);
		for (size_t i = 0; i < PASS_IMAGES; i++) {
			cuts[i] = pick_cut(w->log, sim_mix(seed, i));
		}
		qsort(cuts, PASS_IMAGES, sizeof cuts[0], by_size);
		struct sim *s = sim_new();
		size_t next = 0;
		for (size_t i = 0; i < PASS_IMAGES && now_s() < until && failures < FAILURES_MAX; i++) {
			feed(s, w->log, &next, cuts[i]);
			uint64_t choice = sim_mix(seed, 5000 + i);
			bool is_again = opt.preload != NULL && sim_mix(choice, 9) % AGAIN_ONE_IN == 0;
			uint64_t cut = end_of(w->log, cuts[i] - 1);
			failures += one(w, &im, s, cut, choice, is_again) ? 0 : 1;
		}
		sim_free(&s);
	}
	image_fini(&im);
}

static int single(struct worker *w)
{
	struct image im = {.dir = w->image};
	struct sim *s = sim_new();
	size_t next = 0;
	size_t to = 0;
	while (to < w->log->n && end_of(w->log, to) <= opt.cut) {
		to++;
	}
	feed(s, w->log, &next, to);
	bool good = one(w, &im, s, opt.cut, opt.choice, opt.log2 != NULL);
	if (opt.log2 == NULL) {
		/* As it was before it was opened. */
		struct sim_choice c = sim_choose(s, opt.choice);
		image_make(&im, s, &c);
	}
	printf("%s: %s\n", good ? "as it must be" : "not as it must be", w->image);
	return good ? 0 : 1;
}

static void worker_init(struct worker *w, const struct log *l, const struct oracle *o, int number)
{
	*w = (struct worker){.log = l, .oracle = o, .number = number};
	snprintf(w->image, sizeof w->image, "%s/image%d", opt.work, number);
	snprintf(w->image2, sizeof w->image2, "%s/again%d", opt.work, number);
	snprintf(w->log2, sizeof w->log2, "%s/again%d.oplog", opt.work, number);
}

/* Cuts what the opening of `opt.from` wrote; `base` is what it held before. */
static void from_worker(struct worker *w, const struct sim *base, const char *log, double until)
{
	bool good = true;
	for (uint64_t i = 0; good && now_s() < until; i++) {
		char why[WHY_MAX];
		char second[PATH_MAX + 128] = "";
		struct sim *s = sim_copy(base);
		good = try_again(w->image2, s, log, w->oracle, opt.moment,
				 sim_mix(opt.seed, (uint64_t)w->number << 32 | i), why, second,
				 sizeof second);
		sim_free(&s);
		if (!good) {
			atomic_fetch_add(&counts->failures, 1);
			printf("not ok power opening %s, cut: %s; seed=%llu;%s\n", opt.from, why,
			       (unsigned long long)opt.seed, second);
			fflush(stdout);
		}
	}
}

static int run_workers(const struct log *l, const struct oracle *o)
{
	double until = now_s() + opt.seconds;
	pid_t pids[64];
	struct sim *base = sim_new();
	char log2[PATH_MAX];
	snprintf(log2, sizeof log2, "%s/from.oplog", opt.work);
	if (opt.from != NULL) {
		sim_load(base, opt.from);
		if (opt.preload == NULL || !record_recovery(opt.from, log2)) {
			printf("not ok power: %s does not open\n", opt.from);
			return 1;
		}
	}
	for (int i = 0; i < opt.workers; i++) {
		fflush(stdout);
		pids[i] = fork();
		if (pids[i] == 0) {
			struct worker w;
			worker_init(&w, l, o, i);
			sim_hide();
			if (opt.from != NULL) {
				from_worker(&w, base, log2, until);
			} else {
				worker_main(&w, until);
			}
			_exit(0);
		}
	}
	sim_free(&base);
	bool good = true;
	for (int i = 0; i < opt.workers; i++) {
		int status = -1;
		while (waitpid(pids[i], &status, 0) < 0 && errno == EINTR) {
		}
		good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	if (!good) {
		printf("not ok power: a worker ended\n");
	}
	return good && atomic_load(&counts->failures) == 0 ? 0 : 1;
}

/* ---- the command line -------------------------------------------------------------------------- */

static void split_dirs(char *text)
{
	opt.n_dirs = 0;
	char *rest = NULL;
	for (char *p = strtok_r(text, ",", &rest); p != NULL && opt.n_dirs < DIRS_MAX;
	     p = strtok_r(NULL, ",", &rest)) {
		opt.dirs[opt.n_dirs++] = p;
	}
}

static int once_main(const char *image, char *dirs)
{
	char paths[DIRS_MAX][PATH_MAX];
	const char *whole[DIRS_MAX];
	split_dirs(dirs);
	whole_dirs(image, paths, whole);
	const char *why = probe_once(whole, opt.n_dirs);
	if (why != NULL) {
		fprintf(stderr, "%s\n", why);
	}
	return why != NULL ? 1 : 0;
}

static void read_options(int argc, char **argv)
{
	static const struct option names[] = {
		{"seed", 1, NULL, 's'},	   {"seconds", 1, NULL, 't'}, {"workers", 1, NULL, 'w'},
		{"dirs", 1, NULL, 'd'},	   {"preload", 1, NULL, 'p'}, {"ignore", 1, NULL, 'i'},
		{"cut", 1, NULL, 'c'},	   {"choice", 1, NULL, 'h'},  {"cut2", 1, NULL, 'C'},
		{"choice2", 1, NULL, 'H'}, {"log2", 1, NULL, 'L'},
		{"from", 1, NULL, 'f'},	   {"must", 1, NULL, 'u'},    {"may", 1, NULL, 'y'},
		{"backup", 0, NULL, 'b'},  {"restored", 0, NULL, 'r'}, {"after", 1, NULL, 'a'},
		{NULL, 0, NULL, 0},
	};
	int c;
	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
		switch (c) {
		case 's': opt.seed = number; break;
		case 't': opt.seconds = (int)number; break;
		case 'w': opt.workers = (int)number; break;
		case 'd': split_dirs(optarg); break;
		case 'p': opt.preload = optarg; break;
		case 'i': opt.ignore = optarg; break;
		case 'c': opt.cut = number; opt.is_single = true; break;
		case 'h': opt.choice = number; break;
		case 'C': opt.cut2 = number; break;
		case 'H': opt.choice2 = number; break;
		case 'L': opt.log2 = optarg; break;
		case 'f': opt.from = optarg; break;
		case 'b': opt.is_backup = true; break;
		case 'r': opt.is_restored = true; break;
		case 'a': opt.after = number; break;
		case 'u': opt.moment.must = number; break;
		case 'y': opt.moment.may = number; break;
		default: exit(2);
		}
	}
	if (argc - optind != 3) {
		fprintf(stderr, "power_check LOG JOURNAL WORK-DIRECTORY [options]\n");
		exit(2);
	}
	opt.log = argv[optind];
	opt.journal = argv[optind + 1];
	opt.work = argv[optind + 2];
	if (opt.workers <= 0) {
		opt.workers = WORKERS_PER_CORE * (int)sysconf(_SC_NPROCESSORS_ONLN);
	}
	opt.workers = opt.workers > 64 ? 64 : opt.workers;
}

int main(int argc, char **argv)
{
	static char path[PATH_MAX];
	self = realpath("/proc/self/exe", path) != NULL ? path : argv[0];
	if (argc == 4 && strcmp(argv[1], "--once") == 0) {
		return once_main(argv[2], argv[3]);
	}
	read_options(argc, argv);
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct log l;
	if (counts == MAP_FAILED || (mkdir(opt.work, 0700) != 0 && errno != EEXIST) ||
	    !log_open(&l, opt.log)) {
		return 2;
	}
	struct oracle *o = oracle_new(opt.journal);
	if (opt.is_single) {
		struct worker w;
		worker_init(&w, &l, o, 0);
		return single(&w);
	}
	int status = run_workers(&l, o);
	printf("%llu images of %zu records (%llu KiB), %llu more of recoveries that were cut, %llu "
	       "wrong, slowest %llu ms, seed=%llu\n",
	       (unsigned long long)atomic_load(&counts->images), l.n,
	       (unsigned long long)l.len / 1024, (unsigned long long)atomic_load(&counts->again),
	       (unsigned long long)atomic_load(&counts->failures),
	       (unsigned long long)atomic_load(&counts->slowest_ms), (unsigned long long)opt.seed);
	return status;
}
