/* sluice backup, restore. A backup runs where the server runs, as a user who may
 * read its data directories: the server holds still what is copied and says what that
 * is, the files are copied from here. Without a running server the data directories
 * are opened instead. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/cli/manage.h"
#include "store/backup_copy.h"
#include "store/store.h"

enum {
	RENEW_MS = 15000,		/* a quarter of what the server allows */
	BEGIN_TIMEOUT_MS = 600000,	/* the server seals what it has first */
	PROGRESS_MS = 200,
	PIN_TTL_MS = STORE_PIN_TTL_MAX_MS,
};

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
	(void)number;
	is_interrupted = 1;
}

static void catch_signals(void)
{
	const struct sigaction action = {.sa_handler = on_signal};
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
}

/* ---- the data directories ---------------------------------------------------------- */

struct dirs {
	const char *v[LIMIT_VOLUMES];
	uint32_t n;
	char *env;	/* SLUICE_DATA, taken apart */
};

/* --data, else SLUICE_DATA with ':' between them, else the usual one. */
static enum err find_dirs(const struct cli_args *a, struct dirs *out, struct err_detail *d)
{
	const char *env = getenv("SLUICE_DATA");
	*out = (struct dirs){.n = 0};
	for (size_t i = 0; i < a->n_data_dirs; i++) {
		out->v[out->n++] = a->data_dirs[i];
	}
	if (out->n > 0) {
		return ERR_OK;
	}
	if (env == NULL || *env == '\0') {
		out->v[out->n++] = "./sluice-data";
		return ERR_OK;
	}
	out->env = strdup(env);
	if (out->env == NULL) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	char *rest = out->env;
	for (char *word = strsep(&rest, ":"); word != NULL; word = strsep(&rest, ":")) {
		if (*word == '\0') {
			continue;
		}
		if (out->n == LIMIT_VOLUMES) {
			return err_set(d, ERR_INVALID, "SLUICE_DATA: more than %d directories",
				       LIMIT_VOLUMES);
		}
		out->v[out->n++] = word;
	}
	return out->n > 0 ? ERR_OK : err_set(d, ERR_INVALID, "SLUICE_DATA names no directory");
}

/* Whether a server has it open. */
static enum err is_served(const char *dir, bool *out, struct err_detail *d)
{
	char path[LIMIT_PATH];
	struct stat st;
	(void)snprintf(path, sizeof path, "%s/VERSION", dir);
	if (stat(path, &st) != 0) {
		return errno == EACCES
			       ? err_set(d, ERR_FORBIDDEN,
					 "%s is not this user's to read: run the command as the user of "
					 "the server", dir)
			       : err_set(d, ERR_NOT_FOUND, "%s holds no store", dir);
	}
	(void)snprintf(path, sizeof path, "%s/LOCK", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		*out = false;
		return errno == ENOENT ? ERR_OK
				       : err_set(d, ERR_FORBIDDEN,
						 "%s is not this user's to read: run the command as the "
						 "user of the server", dir);
	}
	*out = flock(fd, LOCK_EX | LOCK_NB) != 0;
	(void)close(fd);
	return ERR_OK;
}

/* ---- progress ------------------------------------------------------------------------ */

struct work {
	uint64_t done;
	uint64_t all;
	int64_t began_ms;
	int64_t shown_ms;
	bool is_terminal;
	/* What keeps the files held; NULL: nothing. */
	enum err (*renew)(struct work *w, struct err_detail *d);
	int64_t renewed_ms;
	const struct cli_target *target;
	char id[32];
};

static void put_size(uint64_t bytes, char out[16])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)bytes;
	size_t i = 0;
	for (; v >= 1024 && i + 1 < sizeof units / sizeof *units; i++) {
		v /= 1024;
	}
	(void)snprintf(out, 16, i == 0 ? "%.0f %s" : "%.1f %s", v, units[i]);
}

static void show(struct work *w, int64_t now_ms)
{
	enum { BAR = 30 };
	char bar[BAR + 1];
	char done[16];
	char all[16];
	char rate[16];
	int64_t ms = now_ms - w->began_ms;
	double part = w->all > 0 ? (double)w->done / (double)w->all : 1;
	part = part > 1 ? 1 : part;
	for (int i = 0; i < BAR; i++) {
		bar[i] = i < (int)(part * BAR) ? '#' : '-';
	}
	bar[BAR] = '\0';
	put_size(w->done < w->all ? w->done : w->all, done);
	put_size(w->all, all);
	put_size(ms > 0 ? (uint64_t)((double)w->done * 1000 / (double)ms) : 0, rate);
	(void)fprintf(stderr, "\r[%s] %3d%%  %s of %s  %s/s   ", bar, (int)(part * 100), done, all,
		      rate);
	(void)fflush(stderr);
	w->shown_ms = now_ms;
}

static enum err on_step(void *arg, uint64_t bytes, struct err_detail *d)
{
	struct work *w = arg;
	int64_t now_ms = clock_mono_ms();
	w->done += bytes;
	if (is_interrupted) {
		return err_set(d, ERR_STOPPING, "interrupted");
	}
	if (w->is_terminal && now_ms - w->shown_ms >= PROGRESS_MS) {
		show(w, now_ms);
	}
	if (w->renew != NULL && now_ms - w->renewed_ms >= RENEW_MS) {
		w->renewed_ms = now_ms;
		return w->renew(w, d);
	}
	return ERR_OK;
}

static void work_begin(struct work *w, uint64_t all)
{
	w->all = all;
	w->began_ms = clock_mono_ms();
	w->is_terminal = isatty(STDERR_FILENO);
	w->renewed_ms = w->began_ms;
}

static void work_end(struct work *w)
{
	if (w->is_terminal) {
		show(w, clock_mono_ms());
		(void)fputc('\n', stderr);
	}
}

/* ---- copying ---------------------------------------------------------------------------- */

static void tell_damage(void *arg, const char *dir, const char *path)
{
	struct work *w = arg;
	if (w->is_terminal) {
		(void)fputc('\n', stderr);
	}
	(void)fprintf(stderr, "sluice backup: %s: %s is damaged: taken as it is\n", dir, path);
}

static int fill(const struct cli_args *a, struct backup_dir *to, struct backup_set *set,
		const char *const *dirs, struct work *w)
{
	struct err_detail d = {""};
	const struct backup_progress p = {.step = on_step, .arg = w};
	char all[16];
	char copied[16];
	enum err e = backup_set_complete(set, &d);
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	uint64_t missing = backup_dir_missing(to, set);
	work_begin(w, cli_has(a, CLI_DAMAGED) ? 2 * missing : missing);
	if (cli_has(a, CLI_DAMAGED)) {
		e = backup_dir_accept_damage(to, set, dirs, &p, tell_damage, w, &d);
	}
	if (e == ERR_OK) {
		e = backup_dir_fill(to, set, dirs, &p, &d);
	}
	work_end(w);
	if ((e == ERR_CORRUPT || e == ERR_NOT_FOUND) && !cli_has(a, CLI_DAMAGED)) {
		return cli_failed(a, "%s; sluice verify tells what is lost, --damaged copies it as it is",
				  d.text);
	}
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	put_size(backup_set_bytes(set), all);
	put_size(missing, copied);
	(void)printf("%s: a backup as of %s, %zu files, %s (%s copied)\n", to->path, set->made, set->n,
		     all, copied);
	return CLI_DONE;
}

/* ---- of a running server ------------------------------------------------------------------ */

static enum err call(const struct cli_target *t, const char *method, const char *id,
		     json_t **answer, struct err_detail *d)
{
	struct str path = {0};
	json_t *body = strcmp(method, "POST") == 0 ? json_object() : NULL;
	cli_manage_path(&path, "backups", id, NULL);
	enum err e = path.bad ? err_set(d, ERR_NOMEM, "out of memory")
			      : cli_manage_call(t, method, path.p, body, answer, d);
	json_decref(body);
	str_fini(&path);
	return e;
}

static enum err renew(struct work *w, struct err_detail *d)
{
	json_t *answer = NULL;
	enum err e = call(w->target, "PUT", w->id, &answer, d);
	json_decref(answer);
	if (e != ERR_OK) {
		err_wrap(d, "the server does not hold the files any longer");
	}
	return e;
}

static enum err read_files(const json_t *answer, struct backup_set *set, const char **dirs,
			   struct err_detail *d)
{
	size_t i;
	const json_t *at;
	enum err e = ERR_OK;
	(void)snprintf(set->store_uuid, sizeof set->store_uuid, "%s", cli_json_text(answer, "store"));
	json_array_foreach(json_object_get(answer, "directories"), i, at) {
		if (i < LIMIT_VOLUMES && json_is_string(at)) {
			dirs[set->volumes++] = json_string_value(at);
		}
	}
	json_array_foreach(json_object_get(answer, "files"), i, at) {
		char path[BACKUP_PATH];
		char source[BACKUP_PATH];
		const char *crc = cli_json_text(at, "crc32c");
		char *end;
		struct backup_file f = {
			.path = path,
			.source = source,
			.volume = (uint32_t)cli_json_number(at, "volume"),
			.size = (uint64_t)cli_json_number(at, "size"),
			.crc = (uint32_t)strtoul(crc, &end, 16),
		};
		if (span_to_cstr(span_str(cli_json_text(at, "path")), path, sizeof path) != ERR_OK ||
		    span_to_cstr(span_str(cli_json_text(at, "source")), source, sizeof source) !=
			    ERR_OK || strlen(crc) != 8 || *end != '\0') {
			return err_set(d, ERR_PROTOCOL, "the server's list of files cannot be read");
		}
		e = backup_set_add(set, &f, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

static int copy_running(const struct cli_args *a, const struct cli_target *t,
			struct backup_dir *to)
{
	struct err_detail d = {""};
	struct backup_set set = {.n = 0};
	const char *dirs[LIMIT_VOLUMES];
	json_t *answer = NULL;
	struct work w = {.renew = renew, .target = t};
	clock_iso(clock_wall_ms(), set.made);
	enum err e = call(t, "POST", NULL, &answer, &d);
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	catch_signals();
	(void)snprintf(w.id, sizeof w.id, "%s", cli_json_text(answer, "id"));
	e = read_files(answer, &set, dirs, &d);
	int status = e == ERR_OK ? fill(a, to, &set, dirs, &w) : cli_failed_err(a, e, &d);
	json_t *none = NULL;
	if (call(t, "DELETE", w.id, &none, &d) != ERR_OK) {
		(void)fprintf(stderr, "sluice backup: the server was not told of the end: %s\n", d.text);
	}
	json_decref(none);
	json_decref(answer);
	backup_set_fini(&set);
	return status;
}

static int backup_running(const struct cli_args *a, const struct dirs *dirs,
			  struct backup_dir *to)
{
	struct cli_args args = *a;
	struct cli_target t;
	struct err_detail d = {""};
	args.v[CLI_DATA] = a->n_data_dirs > 0 ? dirs->v[0] : NULL;
	enum err e = cli_target_find(&args, NULL, &t, &d);
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	t.timeout_ms = BEGIN_TIMEOUT_MS;
	int status = copy_running(a, &t, to);
	cli_target_fini(&t);
	return status;
}

/* ---- of a stopped one ------------------------------------------------------------------------ */

struct pin {
	struct store_pin op;
	bool is_done;
};

static void on_pinned(struct msg *m)
{
	((struct pin *)(void *)m)->is_done = true;
}

static enum err pin_stopped(struct store *s, struct backup_set *set, uint64_t *id,
			    struct err_detail *d)
{
	struct mailbox box;
	struct pin pin = {.op = {.done = on_pinned, .reply_to = &box, .ttl_ms = PIN_TTL_MS}};
	mailbox_init(&box, NULL, NULL);
	store_pin(s, &pin.op);
	while (!pin.is_done) {
		msg_run_all(mailbox_wait(&box, INT64_MAX));
	}
	mailbox_fini(&box);
	enum err e = pin.op.err;
	if (e == ERR_OK) {
		*id = pin.op.id;
		set->volumes = store_volumes(s);
		store_uuid_text(s, set->store_uuid);
		e = backup_set_add_lines(set, span_of(pin.op.files.p, pin.op.files.len), d);
	} else {
		*d = pin.op.detail;
	}
	str_fini(&pin.op.files);
	return e;
}

/* What this user writes must be the server's to read. */
static enum err check_owner(const struct dirs *dirs, struct err_detail *d)
{
	for (uint32_t i = 0; i < dirs->n; i++) {
		struct stat st;
		if (stat(dirs->v[i], &st) == 0 && st.st_uid != geteuid()) {
			return err_set(d, ERR_FORBIDDEN,
				       "%s belongs to another user: while no server runs, run the command "
				       "as the user of the server", dirs->v[i]);
		}
	}
	return ERR_OK;
}

static int backup_stopped(const struct cli_args *a, const struct dirs *dirs,
			  struct backup_dir *to)
{
	struct err_detail d = {""};
	struct store *s = NULL;
	struct backup_set set = {.n = 0};
	struct work w = {.renew = NULL};
	uint64_t id = 0;
	const struct store_options o = {
		.dir = dirs->v[0],
		.more_dirs = dirs->v + 1,
		.n_more_dirs = dirs->n - 1,
		.shards = LIMIT_VOLUMES,	/* not used: it was founded */
	};
	log_setup(LOG_WARN, false);
	catch_signals();
	enum err e = check_owner(dirs, &d);
	if (e == ERR_OK) {
		e = store_open(&o, &s, &d);
	}
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	clock_iso(clock_wall_ms(), set.made);
	e = pin_stopped(s, &set, &id, &d);
	int status = e == ERR_OK ? fill(a, to, &set, dirs->v, &w) : cli_failed_err(a, e, &d);
	if (id != 0) {
		store_unpin(s, id);
	}
	store_free(&s);
	backup_set_fini(&set);
	return status;
}

/* ---- backup --------------------------------------------------------------------------------- */

static int backup(const struct cli_args *a, const struct dirs *dirs)
{
	struct err_detail d = {""};
	struct backup_dir to;
	bool is_running = cli_has(a, CLI_CONNECTION_STRING);
	enum err e = is_running ? ERR_OK : is_served(dirs->v[0], &is_running, &d);
	if (e == ERR_OK) {
		e = backup_dir_open(a->at[0], true, &to, &d);
	}
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	int status = is_running ? backup_running(a, dirs, &to) : backup_stopped(a, dirs, &to);
	backup_dir_close(&to);
	return status;
}

static int run_backup(const struct cli_args *a)
{
	struct err_detail d = {""};
	struct dirs dirs;
	enum err e = find_dirs(a, &dirs, &d);
	int status = e == ERR_OK ? backup(a, &dirs) : cli_failed_err(a, e, &d);
	free(dirs.env);
	return status;
}

const struct cli_command cli_backup = {
	.name = "backup",
	.operands = "DIR",
	.summary = "Copy everything the server has acknowledged into a directory",
	.more = "\nRuns on the server's machine as a user who may read its data directory. DIR is "
		"made, or\nholds an earlier backup of the same store, of which only what changed is "
		"copied; the\nearlier one stays whole until this one is. While no server runs, name "
		"every data\ndirectory; they are opened as a server would.",
	.least = 1,
	.most = 1,
	.options = CLI_BIT(CONNECTION_STRING) | CLI_BIT(DATA_DIRS) | CLI_BIT(CA) | CLI_BIT(HTTPS) |
		   CLI_BIT(DAMAGED),
	.run = run_backup,
};

/* ---- restore ---------------------------------------------------------------------------------- */

static int restore(const struct cli_args *a, struct backup_dir *from)
{
	struct err_detail d = {""};
	struct work w = {.renew = NULL};
	const struct backup_progress p = {.step = on_step, .arg = &w};
	char size[16];
	catch_signals();
	work_begin(&w, backup_set_bytes(&from->set));
	enum err e = backup_dir_restore(from, a->data_dirs, (uint32_t)a->n_data_dirs, &p, &d);
	work_end(&w);
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	put_size(backup_set_bytes(&from->set), size);
	(void)printf("%s: restored as of %s, %zu files, %s\n\nNext: start the server, as the user whom "
		     "the files belong to, with the settings it had:\n  sluice serve",
		     a->data_dirs[0], from->set.made, from->set.n, size);
	for (size_t i = 0; i < a->n_data_dirs; i++) {
		(void)printf(" --data %s", a->data_dirs[i]);
	}
	(void)printf("\nKeys and policies are those of the backup. It is another namespace: do not run "
		     "it beside the\none it was made of under the same name.\n");
	return CLI_DONE;
}

static int run_restore(const struct cli_args *a)
{
	struct err_detail d = {""};
	struct backup_dir from;
	if (a->n_data_dirs == 0) {
		return cli_wrong(a, "--data is missing: the data directory to be made");
	}
	enum err e = backup_dir_open(a->at[0], false, &from, &d);
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	int status = restore(a, &from);
	backup_dir_close(&from);
	return status;
}

const struct cli_command cli_restore = {
	.name = "restore",
	.operands = "DIR",
	.summary = "Make a data directory out of a backup",
	.more = "\n--data names a directory that is empty or missing, and again for each further "
		"one that the\nbacked up server had. Every file of the backup is checked.",
	.least = 1,
	.most = 1,
	.options = CLI_BIT(DATA_DIRS),
	.run = run_restore,
};
