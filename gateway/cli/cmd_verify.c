/* sluice verify */

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/cli/manage.h"
#include "store/verify.h"

enum { PROGRESS_MS = 100, BAR = 30 };

struct verifying {
	const struct cli_args *a;
	json_t *list;			/* NULL: findings are printed as they come */
	bool shows_progress;
	bool has_bar;			/* on the terminal now */
	uint64_t repairable;
	uint64_t lost;			/* events */
	int64_t started_ms;
	int64_t shown_ms;
};

/* ---- progress ---------------------------------------------------------------------- */

static void hide_progress(struct verifying *v)
{
	if (v->has_bar) {
		(void)fprintf(stderr, "\r\033[K");
		(void)fflush(stderr);
		v->has_bar = false;
	}
}

static void on_progress(void *arg, uint64_t done, uint64_t all)
{
	struct verifying *v = arg;
	int64_t now = clock_mono_ms();
	if (!v->shows_progress || all == 0 || now - v->shown_ms < PROGRESS_MS) {
		return;
	}
	v->shown_ms = now;
	v->has_bar = true;
	double part = (double)done / (double)all;
	int64_t ms = now - v->started_ms > 0 ? now - v->started_ms : 1;
	(void)fprintf(stderr, "\r[");
	for (int i = 0; i < BAR; i++) {
		(void)fputc(i < (int)(part * BAR) ? '#' : '.', stderr);
	}
	(void)fprintf(stderr, "] %3d%%  %.0f MB/s ", (int)(part * 100),
		      (double)done / 1e6 * 1000.0 / (double)ms);
	(void)fflush(stderr);
}

/* ---- findings ----------------------------------------------------------------------- */

static void add_finding(struct verifying *v, const struct store_verify_finding *f)
{
	json_t *o = json_object();
	(void)json_object_set_new(o, "data", json_string(f->dir));
	(void)json_object_set_new(o, "file", json_string(f->file));
	(void)json_object_set_new(o, "what", json_string(f->what));
	(void)json_object_set_new(o, "repairable", json_boolean(f->is_repairable));
	if (f->has_part) {
		json_t *hub = f->hub != NULL ? json_string(f->hub) : json_null();
		(void)json_object_set_new(o, "hub", hub);
		(void)json_object_set_new(o, "hubId", json_integer(f->hub_id));
		(void)json_object_set_new(o, "partition", json_integer(f->partition));
		(void)json_object_set_new(o, "firstSequenceNumber",
					  json_integer((json_int_t)f->first_seq));
		(void)json_object_set_new(o, "lastSequenceNumber",
					  json_integer((json_int_t)f->end_seq - 1));
	}
	(void)json_array_append_new(v->list, o);
}

static void on_finding(void *arg, const struct store_verify_finding *f)
{
	struct verifying *v = arg;
	v->repairable += f->is_repairable;
	v->lost += f->has_part ? (uint64_t)(f->end_seq - f->first_seq) : 0;
	if (v->list != NULL) {
		add_finding(v, f);
		return;
	}
	hide_progress(v);
	(void)printf("%s/%s: %s", f->dir, f->file, f->what);
	if (f->has_part && f->hub != NULL) {
		(void)printf(": hub %s", f->hub);
	} else if (f->has_part) {
		(void)printf(": hub number %" PRIu32, f->hub_id);
	}
	if (f->has_part) {
		(void)printf(", partition %" PRIu32 ", sequence numbers %" PRId64 " to %" PRId64,
			     f->partition, f->first_seq, f->end_seq - 1);
	}
	(void)printf("%s\n", f->is_repairable ? " (made anew at the next start)" : "");
}

/* ---- the end ----------------------------------------------------------------------------- */

static void print_json(const struct verifying *v, const struct store_verify_result *r, double s)
{
	json_t *o = json_object();
	(void)json_object_set_new(o, "sound", json_boolean(r->findings == 0));
	(void)json_object_set(o, "findings", v->list);
	(void)json_object_set_new(o, "found", json_integer((json_int_t)r->findings));
	(void)json_object_set_new(o, "lostEvents", json_integer((json_int_t)v->lost));
	(void)json_object_set_new(o, "format", json_integer(r->format));
	(void)json_object_set_new(o, "volumes", json_integer(r->volumes));
	(void)json_object_set_new(o, "files", json_integer((json_int_t)r->files));
	(void)json_object_set_new(o, "bytes", json_integer((json_int_t)r->bytes));
	(void)json_object_set_new(o, "records", json_integer((json_int_t)r->records));
	(void)json_object_set_new(o, "batches", json_integer((json_int_t)r->batches));
	(void)json_object_set_new(o, "events", json_integer((json_int_t)r->events));
	(void)json_object_set_new(o, "partitions", json_integer((json_int_t)r->partitions));
	(void)json_object_set_new(o, "seconds", json_real(s));
	char *text = json_dumps(o, JSON_INDENT(2));
	if (text != NULL) {
		(void)printf("%s\n", text);
		free(text);
	}
	json_decref(o);
}

static void print_summary(const struct verifying *v, const struct store_verify_result *r, double s)
{
	if (r->findings == 0) {
		(void)printf("sound");
	} else {
		(void)printf("%" PRIu64 " finding%s", r->findings, r->findings == 1 ? "" : "s");
		if (v->repairable > 0) {
			(void)printf(", %" PRIu64 " of them made anew at the next start",
				     v->repairable);
		}
		if (v->lost > 0) {
			(void)printf(", %" PRIu64 " events lost", v->lost);
		}
	}
	(void)printf(": %.3f GB in %" PRIu64 " files, %" PRIu64 " events in %" PRIu64
		     " partitions; %.1f s, %.2f GB/s\n",
		     (double)r->bytes / 1e9, r->files, r->events, r->partitions, s,
		     (double)r->bytes / 1e9 / s);
}

static int run_verify(const struct cli_args *a)
{
	struct verifying v = {
		.a = a,
		.list = cli_has(a, CLI_JSON) ? json_array() : NULL,
		.shows_progress = isatty(STDERR_FILENO) != 0,
		.started_ms = clock_mono_ms(),
	};
	struct cli_dirs dirs;
	struct err_detail d = {{0}};
	struct store_verify_result r;
	enum err e = cli_dirs(a, &dirs, &d);
	if (e != ERR_OK) {
		json_decref(v.list);
		return cli_wrong(a, "%s", d.text);
	}
	struct store_verify_options o = {
		.dirs = dirs.v,
		.n_dirs = dirs.n,
		.arg = &v,
		.progress = on_progress,
		.finding = on_finding,
	};
	e = store_verify(&o, &r, &d);
	hide_progress(&v);
	int64_t ms = clock_mono_ms() - v.started_ms;
	double s = (double)(ms > 0 ? ms : 1) / 1000.0;
	int status = r.findings == 0 ? CLI_DONE : CLI_FAILED;
	if (e != ERR_OK) {
		status = cli_failed_err(a, e, &d);
	} else if (v.list != NULL) {
		print_json(&v, &r, s);
	} else {
		print_summary(&v, &r, s);
	}
	json_decref(v.list);
	cli_dirs_fini(&dirs);
	return status;
}

const struct cli_command cli_verify = {
	.name = "verify",
	.operands = "",
	.summary = "Check every byte of a data directory that no server has open",
	.more = "Tells each file that is damaged, missing or misplaced, and which events are lost by\n"
		"it. Changes nothing. Exit status 0: all is sound; 1: something is not.",
	.options = CLI_BIT(DATA_DIRS) | CLI_BIT(JSON),
	.run = run_verify,
};
