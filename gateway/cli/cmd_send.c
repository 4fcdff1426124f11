/* sluice send: lines of a file or of standard input as events, in batches, a
 * number of them under way at a time. A delivery that the server refuses for a time is
 * kept and sent again after that time, before anything new is. */

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/cli/client.h"
#include "gateway/cli/input.h"
#include "gateway/cli/target.h"

enum {
	BATCH_BYTES = 256 << 10,	/* a batch is sent when the next event would pass this */
	BATCH_EVENTS = 1000,
	SECTION_BYTES = 8,		/* a data section around an event */
	ENVELOPE_BYTES = 1024,		/* the partition key around a batch */
	IN_FLIGHT = 32,
	RING = 64,			/* power of two, more than IN_FLIGHT */
	LINGER_MS = 50,			/* an unfinished batch waits so long for more input */
	ANSWER_MS = 60000,		/* without any acknowledgement */
	BUSY_MS = 300000,		/* the same while the server says that it is busy */
	PROGRESS_MS = 200,
	BAR = 30,
};

/* What is under way or to be sent again; `events` 0: free. */
struct delivery {
	uint32_t events;
	uint32_t format;
	struct str message;
};

struct send {
	const struct cli_args *a;
	struct cli_client *client;
	struct cli_link *link;
	struct cli_input in;
	struct cli_property properties[CLI_PROPERTIES_MAX];
	char *property_texts[CLI_PROPERTIES_MAX];
	const char *key;
	size_t batch_limit;
	struct str batch;
	struct str event;
	uint32_t batch_events;
	int64_t batch_since_ms;
	struct delivery ring[RING];	/* under way, by serial number */
	uint32_t in_flight;
	struct delivery again[RING];	/* refused for a time, in the order of their refusal */
	uint32_t n_again;
	int64_t again_ms;		/* not before */
	int64_t progress_ms;		/* the last acknowledgement */
	int64_t heard_ms;		/* the last answer of any kind, or when it was asked for */
	uint64_t throttled;		/* deliveries that were refused for a time */
	bool gives_up;			/* nothing is sent again any more */
	uint64_t given;			/* events handed to the server */
	uint64_t acknowledged;
	uint64_t refused;
	uint64_t bytes;
	char why[ERR_DETAIL_MAX];
	bool shows_progress;
	int64_t started_ms;
	int64_t shown_ms;
};

/* Keeps a delivery for later; its message changes hands. */
static void keep(struct send *s, struct delivery *from, int64_t wait_ms)
{
	struct delivery *to = &s->again[s->n_again++];
	struct str spare = to->message;
	int64_t at_ms = clock_mono_ms() + wait_ms;
	*to = *from;
	from->message = spare;
	s->again_ms = at_ms > s->again_ms ? at_ms : s->again_ms;
	s->throttled++;
}

static void on_outcome(void *arg, uint32_t first, uint32_t last, const char *text)
{
	struct send *s = arg;
	int64_t wait_ms = 0;
	bool is_busy = text != NULL && cli_outcome_is_busy(text, &wait_ms);
	s->heard_ms = clock_mono_ms();
	if (text == NULL) {
		s->progress_ms = s->heard_ms;
	} else {
		(void)snprintf(s->why, sizeof s->why, "%s", text);
	}
	for (uint32_t id = first;; id++) {
		struct delivery *at = &s->ring[id % RING];
		if (at->events > 0 && text == NULL) {
			s->acknowledged += at->events;
		} else if (at->events > 0 && is_busy && !s->gives_up && s->n_again < RING) {
			keep(s, at, wait_ms);
		} else if (at->events > 0) {
			s->refused += at->events;
		}
		s->in_flight -= at->events > 0;
		at->events = 0;
		if (id == last) {
			return;
		}
	}
}

/* ---- progress ---------------------------------------------------------------------- */

static void show_progress(struct send *s, bool end)
{
	int64_t now = clock_mono_ms();
	if (!s->shows_progress || (!end && now - s->shown_ms < PROGRESS_MS)) {
		return;
	}
	s->shown_ms = now;
	int filled = (int)(s->in.taken * BAR / s->in.size);
	int64_t ms = now - s->started_ms > 0 ? now - s->started_ms : 1;
	(void)fprintf(stderr, "\r[");
	for (int i = 0; i < BAR; i++) {
		(void)fputc(i < filled ? '#' : '.', stderr);
	}
	(void)fprintf(stderr, "] %3d%%  %" PRIu64 " events  %.1f MB/s ",
		      (int)(s->in.taken * 100 / s->in.size), s->acknowledged,
		      (double)s->bytes / 1048576.0 * 1000.0 / (double)ms);
	if (end) {
		(void)fprintf(stderr, "\r\033[K");
	}
	(void)fflush(stderr);
}

/* ---- sending ----------------------------------------------------------------------- */

static enum err pump(struct send *s, int timeout_ms, struct err_detail *d)
{
	enum err e = cli_client_pump(s->client, timeout_ms, d);
	if (e == ERR_OK) {
		e = cli_link_state(s->link, d);
	}
	if (e == ERR_OK && s->refused > 0 && !s->gives_up) {
		e = err_set(d, ERR_INVALID, "the server refused events: %s", s->why);
	}
	show_progress(s, false);
	return e;
}

/* Puts one delivery under way. ERR_AGAIN: there is no room for it. */
static enum err give(struct send *s, uint32_t format, struct span message, uint32_t events,
		     struct err_detail *d)
{
	struct delivery *at = &s->ring[cli_link_next_id(s->link) % RING];
	uint32_t id;
	if (s->in_flight == IN_FLIGHT || at->events != 0) {
		return ERR_AGAIN;
	}
	at->message.len = 0;
	str_addn(&at->message, message.p, message.n);
	if (at->message.bad) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	enum err e = cli_link_send(s->link, format, message, &id, d);
	if (e == ERR_OK) {
		at->events = events;
		at->format = format;
		s->heard_ms = s->in_flight++ == 0 ? clock_mono_ms() : s->heard_ms;
	}
	return e;
}

/* Sends again what was refused for a time, when that is over and the answers to what is
 * under way are there. ERR_AGAIN: something is left. */
static enum err give_again(struct send *s, struct err_detail *d)
{
	if (s->n_again == 0) {
		return ERR_OK;
	}
	if (s->in_flight > 0 || clock_mono_ms() < s->again_ms) {
		return ERR_AGAIN;
	}
	uint32_t n = 0;
	enum err e = ERR_OK;
	while (n < s->n_again && e == ERR_OK) {
		const struct delivery *at = &s->again[n];
		e = give(s, at->format, span_of(at->message.p, at->message.len), at->events, d);
		n += e == ERR_OK;
	}
	for (uint32_t i = 0; i < n; i++) {
		str_fini(&s->again[i].message);
	}
	memmove(s->again, s->again + n, (s->n_again - n) * sizeof *s->again);
	memset(s->again + s->n_again - n, 0, n * sizeof *s->again);
	s->n_again -= n;
	return e;
}

/* Waits a little for whatever comes; fails when it has been too long. */
static enum err wait_more(struct send *s, int64_t since_ms, struct err_detail *d)
{
	int64_t now = clock_mono_ms();
	int64_t from = s->progress_ms > since_ms ? s->progress_ms : since_ms;
	int64_t heard = s->heard_ms > from ? s->heard_ms : from;
	int64_t wait_ms = s->again_ms > now && s->again_ms - now < 1000 ? s->again_ms - now : 1000;
	if (s->n_again > 0 && now - from >= BUSY_MS) {
		return err_set(d, ERR_BUSY, "the server refuses the events for %d s: %s",
			       BUSY_MS / 1000, s->why);
	}
	if (s->n_again == 0 && now - heard >= ANSWER_MS) {
		return err_set(d, ERR_TIMEOUT, "no acknowledgement within %d s", ANSWER_MS / 1000);
	}
	return pump(s, (int)wait_ms, d);
}

/* Sends one delivery as soon as there is room for it. */
static enum err deliver(struct send *s, uint32_t format, struct span message, uint32_t events,
			struct err_detail *d)
{
	int64_t since_ms = clock_mono_ms();
	enum err e;
	do {
		e = give_again(s, d);
		if (e == ERR_OK) {
			e = give(s, format, message, events, d);
		}
		if (e == ERR_OK) {
			s->given += events;
			return pump(s, 0, d);
		}
		if (e == ERR_AGAIN) {
			e = wait_more(s, since_ms, d);
		}
	} while (e == ERR_OK);
	return e;
}

static enum err send_batch(struct send *s, struct err_detail *d)
{
	if (s->batch_events == 0) {
		return ERR_OK;
	}
	enum err e = s->batch.bad ? err_set(d, ERR_NOMEM, "out of memory")
				  : deliver(s, CLI_FORMAT_BATCH, span_of(s->batch.p, s->batch.len),
					    s->batch_events, d);
	s->batch.len = 0;
	s->batch_events = 0;
	return e;
}

static enum err add_event(struct send *s, struct span body, struct err_detail *d)
{
	s->event.len = 0;
	cli_event_encode(&s->event, body, NULL, s->properties, s->a->n_properties);
	size_t need = s->event.len + SECTION_BYTES;
	if (s->event.bad || need + ENVELOPE_BYTES > cli_link_max_message(s->link)) {
		return err_set(d, ERR_TOO_LARGE, "event %" PRIu64 " has %zu bytes, more than the "
			       "server takes", s->given + s->batch_events + 1, body.n);
	}
	if (s->batch_events > 0 &&
	    (s->batch.len + need > s->batch_limit || s->batch_events == BATCH_EVENTS)) {
		enum err e = send_batch(s, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	if (s->batch_events == 0) {
		cli_batch_begin(&s->batch, s->key);
		s->batch_since_ms = clock_mono_ms();
	}
	cli_batch_add(&s->batch, span_of(s->event.p, s->event.len));
	s->batch_events++;
	s->bytes += body.n;
	return ERR_OK;
}

/* Nothing new is there to be sent. */
static enum err idle(struct send *s, struct err_detail *d)
{
	enum err e = give_again(s, d);
	return e == ERR_OK || e == ERR_AGAIN ? pump(s, 0, d) : e;
}

static enum err send_lines(struct send *s, struct err_detail *d)
{
	for (;;) {
		struct span line;
		enum err e = cli_input_line(&s->in, LINGER_MS, &line, d);
		if (e == ERR_OK) {
			e = add_event(s, line, d);
			if (e == ERR_OK && clock_mono_ms() - s->batch_since_ms >= LINGER_MS) {
				e = send_batch(s, d);
			}
		} else if (e == ERR_AGAIN) {
			e = send_batch(s, d);
			if (e == ERR_OK) {
				e = idle(s, d);
			}
		} else if (e == ERR_EOF) {
			return send_batch(s, d);
		}
		if (e != ERR_OK) {
			return e;
		}
	}
}

static enum err send_whole(struct send *s, struct err_detail *d)
{
	struct span body;
	enum err e = cli_input_whole(&s->in, &body, d);
	if (e == ERR_OK) {
		cli_event_encode(&s->event, body, s->key, s->properties, s->a->n_properties);
		s->bytes = body.n;
		e = s->event.bad ? err_set(d, ERR_NOMEM, "out of memory")
				 : deliver(s, CLI_FORMAT_PLAIN, span_of(s->event.p, s->event.len), 1, d);
	}
	return e;
}

static enum err wait_all(struct send *s, struct err_detail *d)
{
	int64_t since_ms = clock_mono_ms();
	enum err e = ERR_OK;
	while (e == ERR_OK && (s->in_flight > 0 || s->n_again > 0)) {
		e = give_again(s, d);
		if (e == ERR_OK || e == ERR_AGAIN) {
			e = wait_more(s, since_ms, d);
		}
	}
	return e;
}

/* ---- the command ----------------------------------------------------------------------- */

static enum err read_properties(struct send *s, struct err_detail *d)
{
	for (size_t i = 0; i < s->a->n_properties; i++) {
		const char *equals = strchr(s->a->property[i], '=');
		if (equals == NULL || equals == s->a->property[i]) {
			return err_set(d, ERR_INVALID, "--property: \"%.64s\" is not NAME=VALUE",
				       s->a->property[i]);
		}
		size_t n = (size_t)(equals - s->a->property[i]);
		s->property_texts[i] = mem_dup(s->a->property[i], n + 1);
		if (s->property_texts[i] == NULL) {
			return err_set(d, ERR_NOMEM, "out of memory");
		}
		s->property_texts[i][n] = '\0';
		s->properties[i] = (struct cli_property){s->property_texts[i], equals + 1};
	}
	return ERR_OK;
}

static enum err open_link(struct send *s, struct err_detail *d)
{
	struct cli_target target;
	struct cli_link_events events = {.outcome = on_outcome, .arg = s};
	char address[LIMIT_HUB_NAME + 64];
	const char *hub = s->a->at[0];
	enum err e = cli_target_find(s->a, NULL, &target, d);
	if (e != ERR_OK) {
		return e;
	}
	e = cli_target_hub(&target, hub, &hub, d);
	if (e == ERR_OK) {
		e = cli_target_amqp(&target, hub, &s->client, d);
	}
	cli_target_fini(&target);
	if (e != ERR_OK) {
		return e;
	}
	const char *partition = s->a->v[CLI_PARTITION];
	(void)snprintf(address, sizeof address, "%.*s%s%s", LIMIT_HUB_NAME, hub,
		       partition != NULL ? "/Partitions/" : "", partition != NULL ? partition : "");
	e = cli_client_sender(s->client, address, &events, &s->link, d);
	if (e == ERR_OK) {
		uint64_t max = cli_link_max_message(s->link);
		s->batch_limit = max < BATCH_BYTES ? (size_t)max : BATCH_BYTES;
		s->batch_limit -= s->batch_limit > 2 * ENVELOPE_BYTES ? ENVELOPE_BYTES : 0;
	}
	return e;
}

/* What waits to be sent again is refused for good. */
static void give_up(struct send *s)
{
	s->gives_up = true;
	for (uint32_t i = 0; i < s->n_again; i++) {
		s->refused += s->again[i].events;
	}
	s->n_again = 0;
}

static enum err send_all(struct send *s, struct err_detail *d)
{
	enum err e = cli_input_open(s->a->at[1], LIMIT_MESSAGE, &s->in, d);
	if (e == ERR_OK) {
		e = open_link(s, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	s->shows_progress = s->in.size > 0 && isatty(STDERR_FILENO) != 0;
	s->started_ms = clock_mono_ms();
	e = cli_has(s->a, CLI_WHOLE) ? send_whole(s, d) : send_lines(s, d);
	if (e == ERR_OK) {
		e = wait_all(s, d);
	} else if (s->in_flight > 0 && s->client != NULL) {
		give_up(s);
		/* What was given before may still be acknowledged, so that the count is right. */
		struct err_detail ignored;
		(void)!wait_all(s, &ignored);
	}
	show_progress(s, true);
	return e;
}

static void report(const struct send *s)
{
	if (cli_has(s->a, CLI_JSON)) {
		(void)printf("{\"events\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"throttled\":%" PRIu64
			     "}\n",
			     s->acknowledged, s->bytes, s->throttled);
	}
	(void)fprintf(stderr, "%" PRIu64 " event%s sent", s->acknowledged,
		      s->acknowledged == 1 ? "" : "s");
	if (s->given > s->acknowledged + s->refused) {
		(void)fprintf(stderr, ", %" PRIu64 " more without an answer",
			      s->given - s->acknowledged - s->refused);
	}
	if (s->throttled > 0) {
		(void)fprintf(stderr, ", %" PRIu64 " time%s refused for a while by a busy server and sent again",
			      s->throttled, s->throttled == 1 ? "" : "s");
	}
	(void)fputc('\n', stderr);
}

static int run(const struct cli_args *a)
{
	struct err_detail d = {{0}};
	uint64_t partition;
	if (cli_has(a, CLI_PARTITION_KEY) && cli_has(a, CLI_PARTITION)) {
		return cli_wrong(a, "--key and --partition exclude each other");
	}
	if (cli_number(a, CLI_PARTITION, CLI_COUNT_KIND, 0, LIMIT_PARTITIONS - 1, 0, &partition,
		       &d) != ERR_OK) {
		return cli_wrong(a, "%s", d.text);
	}
	struct send *s = MEM_NEW(struct send);
	if (s == NULL) {
		return cli_failed(a, "out of memory");
	}
	int status = CLI_DONE;
	s->a = a;
	s->in.fd = -1;
	s->key = a->v[CLI_PARTITION_KEY];
	if (read_properties(s, &d) != ERR_OK) {
		status = cli_wrong(a, "%s", d.text);
	} else {
		enum err e = send_all(s, &d);
		if (e != ERR_OK) {
			status = cli_failed_err(a, e, &d);
		}
		if (e == ERR_OK || s->given > 0) {
			report(s);
		}
	}
	cli_client_close(&s->client);
	cli_input_close(&s->in);
	str_fini(&s->batch);
	str_fini(&s->event);
	for (size_t i = 0; i < RING; i++) {
		str_fini(&s->ring[i].message);
		str_fini(&s->again[i].message);
	}
	for (size_t i = 0; i < a->n_properties; i++) {
		mem_free(s->property_texts[i]);
	}
	mem_free(s);
	return status;
}

const struct cli_command cli_send = {
	.name = "send",
	.operands = "H [FILE|-]",
	.least = 1,
	.most = 2,
	.summary = "Send events, one a line of the input",
	.more = "It ends when every event is acknowledged and tells their number on standard error.\n"
		"Events that a busy or throttling server refuses for a time are sent again after it, and\n"
		"may then stand behind later ones.",
	.options = CLI_CONNECT_AMQP | CLI_BIT(PARTITION_KEY) | CLI_BIT(PARTITION) |
		   CLI_BIT(PROPERTY) | CLI_BIT(WHOLE) | CLI_BIT(JSON),
	.run = run,
};
