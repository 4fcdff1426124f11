/* The AMQP half of the load generator. The delivery is encoded once; a send
 * costs its copy into the connection's buffer. */

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/cli/bench_priv.h"
#include "gateway/cli/client.h"

struct sender {
	struct bench_worker *w;
	struct cli_client *client;
	struct cli_link *link;
	struct str delivery;
	int64_t *sent_ns;	/* by serial number; 0: free */
	uint32_t mask;
	uint64_t in_flight;
	uint64_t sends;
};

static void on_outcome(void *arg, uint32_t first, uint32_t last, const char *text)
{
	struct sender *s = arg;
	int64_t now = clock_mono_ns();
	int64_t wait_ms;
	for (uint32_t id = first;; id++) {
		int64_t *at = &s->sent_ns[id & s->mask];
		if (*at != 0) {
			if (text == NULL) {
				bench_acked(s->w, *at, now);
			} else if (cli_outcome_is_busy(text, &wait_ms)) {
				bench_throttled(s->w, wait_ms);
			} else {
				bench_error(s->w, s->w->bench->batch, text);
			}
			*at = 0;
			s->in_flight--;
		}
		if (id == last) {
			return;
		}
	}
}

static enum err encode(struct sender *s, struct err_detail *d)
{
	const struct bench *b = s->w->bench;
	struct str event = {0};
	uint8_t *body = mem_alloc(b->size > 0 ? b->size : 1);
	if (body == NULL) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	bench_fill(body, b->size);
	if (b->mode == BENCH_SINGLE) {
		cli_event_encode(&s->delivery, span_of(body, b->size), NULL, NULL, 0);
	} else {
		cli_event_encode(&event, span_of(body, b->size), NULL, NULL, 0);
		cli_batch_begin(&s->delivery, NULL);
		for (uint64_t i = 0; i < b->batch; i++) {
			cli_batch_add(&s->delivery, span_of(event.p, event.len));
		}
	}
	bool bad = event.bad || s->delivery.bad;
	str_fini(&event);
	mem_free(body);
	return bad ? err_set(d, ERR_NOMEM, "out of memory") : ERR_OK;
}

static enum err prepare(struct sender *s, struct err_detail *d)
{
	const struct bench *b = s->w->bench;
	struct cli_link_events events = {.outcome = on_outcome, .arg = s};
	uint32_t ring = 1;
	while (ring < 4 * b->in_flight) {
		ring *= 2;
	}
	s->mask = ring - 1;
	s->sent_ns = mem_calloc(ring, sizeof *s->sent_ns);
	enum err e = s->sent_ns != NULL ? encode(s, d) : err_set(d, ERR_NOMEM, "out of memory");
	if (e == ERR_OK) {
		e = cli_target_amqp(&b->target, b->hub, &s->client, d);
	}
	if (e == ERR_OK) {
		e = cli_client_sender(s->client, b->hub, &events, &s->link, d);
	}
	if (e == ERR_OK && s->delivery.len > cli_link_max_message(s->link)) {
		e = err_set(d, ERR_TOO_LARGE,
			    "a send of %zu bytes is more than the server takes (%llu); use a smaller "
			    "--batch or --size",
			    s->delivery.len, (unsigned long long)cli_link_max_message(s->link));
	}
	return e;
}

/* Sends what is due and allowed; *wait_ns gets how long nothing will be. */
static enum err send_due(struct sender *s, int64_t *wait_ns, struct err_detail *d)
{
	const struct bench *b = s->w->bench;
	*wait_ns = INT64_MAX;
	while (s->in_flight < b->in_flight &&
	       s->sent_ns[cli_link_next_id(s->link) & s->mask] == 0) {
		int64_t now = clock_mono_ns();
		int64_t planned = bench_planned_ns(s->w, s->sends);
		int64_t told = bench_told_ns(s->w, now);
		uint32_t id;
		if (now >= b->end_ns) {
			return ERR_OK;
		}
		if (told > 0) {
			*wait_ns = told;
			return ERR_OK;
		}
		if (planned > now) {
			*wait_ns = planned - now;
			return ERR_OK;
		}
		enum err e = cli_link_send(s->link,
					   b->mode == BENCH_SINGLE ? CLI_FORMAT_PLAIN
								   : CLI_FORMAT_BATCH,
					   span_of(s->delivery.p, s->delivery.len), &id, d);
		if (e == ERR_AGAIN) {
			return ERR_OK;
		}
		if (e != ERR_OK) {
			return e;
		}
		s->sent_ns[id & s->mask] = b->rate > 0 ? planned : now;
		s->in_flight++;
		s->sends++;
	}
	return ERR_OK;
}

static enum err send_all(struct sender *s, struct err_detail *d)
{
	const struct bench *b = s->w->bench;
	enum err e = ERR_OK;
	while (e == ERR_OK && clock_mono_ns() < b->end_ns) {
		int64_t wait_ns;
		e = send_due(s, &wait_ns, d);
		int64_t left = b->end_ns - clock_mono_ns();
		wait_ns = wait_ns < left ? wait_ns : left;
		if (e == ERR_OK && wait_ns < 1000000) {
			/* poll(2) counts in milliseconds: nap, then look. */
			struct timespec nap = {.tv_nsec = wait_ns < 0		    ? 0
							  : wait_ns < BENCH_NAP_NS ? wait_ns
										   : BENCH_NAP_NS};
			e = cli_client_pump(s->client, 0, d);
			(void)nanosleep(&nap, NULL);
		} else if (e == ERR_OK) {
			e = cli_client_pump(s->client, (int)(wait_ns / 1000000), d);
		}
		if (e == ERR_OK) {
			e = cli_link_state(s->link, d);
		}
	}
	int64_t until = clock_mono_ms() + BENCH_ANSWER_MS;
	while (e == ERR_OK && s->in_flight > 0) {
		int64_t left = until - clock_mono_ms();
		e = left > 0 ? cli_client_pump(s->client, (int)left, d)
			     : err_set(d, ERR_TIMEOUT, "no acknowledgement within %d s",
				       BENCH_ANSWER_MS / 1000);
		if (e == ERR_OK) {
			e = cli_link_state(s->link, d);
		}
	}
	return e;
}

void *bench_amqp_run(void *arg)
{
	struct bench_worker *w = arg;
	struct sender s = {.w = w, .delivery = {.max = 2 * LIMIT_MESSAGE}};
	struct err_detail d = {{0}};
	enum err e = prepare(&s, &d);
	w->failed = e != ERR_OK;
	if (w->failed) {
		bench_error(w, 0, d.text);
	}
	if (bench_wait_start(w) && e == ERR_OK) {
		e = send_all(&s, &d);
		if (e != ERR_OK) {
			w->failed = true;
			bench_error(w, s.in_flight * w->bench->batch, d.text);
		}
	}
	cli_client_close(&s.client);
	str_fini(&s.delivery);
	mem_free(s.sent_ns);
	return NULL;
}
