#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>

#include "base/clock.h"
#include "base/mem.h"
#include "test/unit/amqp_front/fix.h"

enum { WAIT_MS = 5000, STEP_MS = 5, MESSAGE_MAX = 1 << 20 };

/* ---- what comes back ------------------------------------------------------------ */

static void on_outcome(struct peer *p, pn_delivery_t *d)
{
	pn_disposition_t *remote = pn_delivery_remote(d);
	if (pn_delivery_remote_state(d) == PN_ACCEPTED) {
		p->accepted++;
	} else if (pn_delivery_remote_state(d) == PN_REJECTED) {
		pn_condition_t *c = pn_disposition_condition(remote);
		snprintf(p->condition, sizeof p->condition, "%s", pn_condition_get_name(c));
		snprintf(p->text, sizeof p->text, "%s", pn_condition_get_description(c));
		pn_data_t *info = pn_condition_info(c);
		pn_data_rewind(info);
		p->has_info = pn_data_next(info) && pn_data_type(info) == PN_MAP;
		p->rejected++;
	}	/* otherwise its link has ended before: undecided */
	p->unsettled--;
	pn_delivery_settle(d);
}

static void on_event_in(struct peer *p, pn_delivery_t *d)
{
	static char bytes[MESSAGE_MAX];
	pn_link_t *link = pn_delivery_link(d);
	if (pn_delivery_partial(d)) {
		return;
	}
	ssize_t n;
	p->last_len = 0;
	while ((n = pn_link_recv(link, bytes, sizeof bytes)) > 0) {
		size_t room = sizeof p->last - p->last_len;
		size_t kept = (size_t)n < room ? (size_t)n : room;
		memcpy(p->last + p->last_len, bytes, kept);
		p->last_len += kept;
		p->received_bytes += (uint64_t)n;
	}
	pn_link_advance(link);
	pn_delivery_settle(d);
	p->received++;
	if (p->replenish != 0 && (uint32_t)pn_link_credit(link) <= p->replenish / 2) {
		pn_link_flow(link, (int)p->replenish - pn_link_credit(link));
	}
}

static void on_event(struct peer *p, pn_event_t *e)
{
	pn_delivery_t *d;
	switch (pn_event_type(e)) {
	case PN_DELIVERY:
		d = pn_event_delivery(e);
		if (pn_delivery_readable(d)) {
			on_event_in(p, d);
		} else if (pn_delivery_updated(d) && pn_link_is_sender(pn_delivery_link(d))) {
			on_outcome(p, d);
		}
		break;
	case PN_LINK_REMOTE_CLOSE:
	case PN_LINK_REMOTE_DETACH:
		p->detached++;
		break;
	case PN_CONNECTION_REMOTE_CLOSE:
		p->is_closed = true;
		break;
	default:
		break;
	}
}

/* ---- bytes ------------------------------------------------------------------------ */

static void handle_events(struct peer *p)
{
	pn_event_t *e;
	while ((e = pn_connection_driver_next_event(&p->driver)) != NULL) {
		on_event(p, e);
	}
}

static void write_all(struct peer *p)
{
	pn_bytes_t b = pn_connection_driver_write_buffer(&p->driver);
	while (b.size > 0) {
		ssize_t n = send(p->fd, b.start, b.size, MSG_NOSIGNAL);
		if (n <= 0) {
			break;
		}
		pn_connection_driver_write_done(&p->driver, (size_t)n);
		handle_events(p);
		b = pn_connection_driver_write_buffer(&p->driver);
	}
}

static void read_some(struct peer *p)
{
	pn_rwbytes_t b = pn_connection_driver_read_buffer(&p->driver);
	if (b.size == 0) {
		return;
	}
	ssize_t n = recv(p->fd, b.start, b.size, 0);
	if (n > 0) {
		pn_connection_driver_read_done(&p->driver, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		pn_connection_driver_read_close(&p->driver);
		p->is_closed = true;
	}
	handle_events(p);
}

static void step(struct peer *p, int ms)
{
	handle_events(p);
	write_all(p);
	bool has_more = pn_connection_driver_write_buffer(&p->driver).size > 0;
	struct pollfd fd = {.fd = p->fd, .events = (short)(POLLIN | (has_more ? POLLOUT : 0))};
	if (!p->is_closed && poll(&fd, 1, ms) > 0 && (fd.revents & (POLLIN | POLLHUP)) != 0) {
		read_some(p);
	}
	write_all(p);
}

void peer_run(struct peer *p, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;
	do {
		step(p, ms < STEP_MS ? (int)ms : STEP_MS);
	} while (clock_mono_ms() < until && !p->is_closed);
}

void peer_open(struct peer *p, struct amqp_fix *f)
{
	memset(p, 0, sizeof *p);
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(strrchr(f->bound, ':') + 1)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(p->fd, (const struct sockaddr *)(const void *)&to, sizeof to), 0);
	ck_assert_int_eq(fcntl(p->fd, F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(pn_connection_driver_init(&p->driver, NULL, NULL), 0);
	pn_transport_set_max_frame(p->driver.transport, 64 << 10);
	pn_connection_set_container(p->driver.connection, "tester");
	pn_connection_set_hostname(p->driver.connection, "ns.example");
	pn_connection_open(p->driver.connection);
	p->session = pn_session(p->driver.connection);
	pn_session_open(p->session);
}

void peer_drop(struct peer *p)
{
	close(p->fd);
	pn_connection_driver_destroy(&p->driver);
}

/* ---- links ------------------------------------------------------------------------- */

pn_link_t *peer_sender(struct peer *p, const char *name)
{
	pn_link_t *link = pn_sender(p->session, name);
	pn_terminus_set_address(pn_link_source(link), name);
	pn_terminus_set_address(pn_link_target(link), "events/Partitions/0");
	pn_link_open(link);
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (pn_link_credit(link) == 0) {
		ck_assert_msg(clock_mono_ms() < until, "no credit came");
		peer_run(p, STEP_MS);
	}
	return link;
}

pn_link_t *peer_receiver(struct peer *p, const char *name, uint32_t credit, bool replenish)
{
	pn_link_t *link = pn_receiver(p->session, name);
	pn_terminus_set_address(pn_link_source(link), "events/ConsumerGroups/$Default/Partitions/0");
	pn_terminus_set_address(pn_link_target(link), name);
	pn_link_open(link);
	p->replenish = replenish ? credit : 0;
	if (credit > 0) {
		pn_link_flow(link, (int)credit);
	}
	return link;
}

void peer_send(struct peer *p, pn_link_t *link, size_t bytes)
{
	static uint8_t message[MESSAGE_MAX];
	static const uint8_t head[4] = {0x00, 0x53, 0x75, 0xb0};
	ck_assert(bytes > 8 && bytes <= sizeof message);
	memcpy(message, head, sizeof head);
	put_u32(message + 4, (uint32_t)(bytes - 8));
	uint8_t tag[8];
	put_u64(tag, p->next_tag++);
	(void)pn_delivery(link, pn_dtag((const char *)tag, sizeof tag));
	ck_assert_int_eq(pn_link_send(link, (const char *)message, bytes), (ssize_t)bytes);
	pn_link_advance(link);
	p->unsettled++;
}
