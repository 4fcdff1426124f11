#include <string.h>

#include "base/mem.h"
#include "gateway/wire/codec.h"
#include "gateway/amqp/guard.h"
#include "test/unit/amqp_front/suites.h"

static struct amqp_guard guard;

/* An open connection; the test of the order makes its own. */
static void setup(void)
{
	guard = (struct amqp_guard){.is_open = true};
}

static void teardown(void)
{
	amqp_guard_fini(&guard);
}

/* A frame with one performative of `n` uint fields after an optional name. */
static void build(struct str *out, uint8_t code, bool named, const uint32_t *fields, uint32_t n)
{
	static const uint8_t head[8] = {0, 0, 0, 0, 2, 0, 0, 0};
	str_addn(out, head, sizeof head);
	amqp_put_descriptor(out, code);
	size_t mark = amqp_begin_list(out);
	if (named) {
		amqp_put_string(out, span_str("link"));
	}
	for (uint32_t i = 0; i < n; i++) {
		amqp_put_uint(out, fields[i]);
	}
	amqp_end(out, mark, n + (named ? 1 : 0));
	ck_assert(!out->bad);
}

struct step {
	uint8_t code;
	uint16_t channel;
	uint32_t handle;
	bool has_id;
	bool more;
	bool aborted;
};

static enum err feed_step(struct step s, bool *drop)
{
	struct str bytes = {.max = 0};
	build(&bytes, s.code, s.code == AMQP_ATTACH, &s.handle, s.code == AMQP_BEGIN ? 0 : 1);
	struct amqp_tap_frame f = {
		.kind = AMQP_TAP_FRAME,
		.bytes = span_of(bytes.p, bytes.len),
		.channel = s.channel,
		.performative = s.code,
		.handle = s.handle,
		.has_delivery_id = s.has_id,
		.more = s.more,
		.aborted = s.aborted,
	};
	struct err_detail d = {""};
	struct amqp_guard_verdict v = {.drop = false};
	enum err e = amqp_guard_check(&guard, &f, &v, &d);
	*drop = v.drop;
	ck_assert(e == ERR_OK || e == ERR_NOMEM || d.text[0] != '\0');
	str_fini(&bytes);
	return e;
}

static enum err feed(struct step s)
{
	bool drop = true;
	enum err e = feed_step(s, &drop);
	ck_assert(e != ERR_OK || !drop);
	return e;
}

#define BEGIN(ch) (struct step){.code = AMQP_BEGIN, .channel = (ch)}
#define END(ch) (struct step){.code = AMQP_END, .channel = (ch)}
#define ATTACH(ch, h) (struct step){.code = AMQP_ATTACH, .channel = (ch), .handle = (h)}
#define DETACH(ch, h) (struct step){.code = AMQP_DETACH, .channel = (ch), .handle = (h)}
#define TRANSFER(ch, h, id, mo) \
	(struct step){.code = AMQP_TRANSFER, .channel = (ch), .handle = (h), .has_id = (id), .more = (mo)}

START_TEST(usual_order_is_let_through)
{
	guard.is_open = false;
	ck_assert_int_eq(feed((struct step){.code = AMQP_OPEN}), ERR_OK);
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 0)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 0, true, false)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 0, true, true)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 0, false, true)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 0, false, false)), ERR_OK);
	ck_assert_int_eq(feed(DETACH(0, 0)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 0)), ERR_OK);
	ck_assert_int_eq(feed(END(0)), ERR_OK);
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 0)), ERR_OK);
	ck_assert_int_eq(feed((struct step){.code = AMQP_CLOSE}), ERR_OK);
}
END_TEST

START_TEST(first_transfer_without_delivery_id_is_refused)
{
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 0)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 0, false, true)), ERR_PROTOCOL);
	ck_assert_int_eq(feed(TRANSFER(0, 0, false, false)), ERR_PROTOCOL);
}
END_TEST

START_TEST(transfer_after_an_abort_is_a_first_one)
{
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 0)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 0, true, true)), ERR_OK);
	struct step s = TRANSFER(0, 0, false, true);
	s.aborted = true;
	ck_assert_int_eq(feed(s), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 0, false, true)), ERR_PROTOCOL);
}
END_TEST

START_TEST(handle_of_a_new_link_starts_anew)
{
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 3)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 3, true, true)), ERR_OK);
	ck_assert_int_eq(feed(DETACH(0, 3)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 3)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 3, false, true)), ERR_PROTOCOL);
}
END_TEST

START_TEST(channel_in_use_is_refused)
{
	ck_assert_int_eq(feed(BEGIN(7)), ERR_OK);
	ck_assert_int_eq(feed(BEGIN(7)), ERR_PROTOCOL);
	ck_assert_int_eq(feed(BEGIN(AMQP_GUARD_CHANNELS - 1)), ERR_OK);
	ck_assert_int_eq(feed(BEGIN(AMQP_GUARD_CHANNELS)), ERR_PROTOCOL);
	ck_assert_int_eq(feed(BEGIN(UINT16_MAX)), ERR_PROTOCOL);
}
END_TEST

START_TEST(handle_in_use_is_refused)
{
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	ck_assert_int_eq(feed(BEGIN(1)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 5)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(1, 5)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 5)), ERR_PROTOCOL);
	ck_assert_int_eq(feed(ATTACH(0, UINT32_MAX)), ERR_PROTOCOL);
	ck_assert_int_eq(feed(ATTACH(0, (uint32_t)INT32_MAX + 1)), ERR_PROTOCOL);
}
END_TEST

START_TEST(frames_without_session_are_refused_or_dropped)
{
	bool drop = false;
	ck_assert_int_eq(feed(ATTACH(0, 0)), ERR_PROTOCOL);
	ck_assert_int_eq(feed(TRANSFER(0, 0, true, false)), ERR_PROTOCOL);
	ck_assert_int_eq(feed_step(DETACH(0, 0), &drop), ERR_OK);
	ck_assert(drop);
	drop = false;
	ck_assert_int_eq(feed_step(END(300), &drop), ERR_OK);
	ck_assert(drop);
}
END_TEST

START_TEST(transfer_on_no_link_is_refused)
{
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	ck_assert_int_eq(feed(TRANSFER(0, 9, true, false)), ERR_PROTOCOL);
}
END_TEST

START_TEST(links_are_bounded)
{
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	for (uint32_t i = 0; i < AMQP_GUARD_HANDLES; i++) {
		ck_assert_int_eq(feed(ATTACH(0, i)), ERR_OK);
	}
	ck_assert_int_eq(feed(ATTACH(0, AMQP_GUARD_HANDLES)), ERR_LIMIT);
	ck_assert_int_eq(feed(DETACH(0, 17)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, AMQP_GUARD_HANDLES)), ERR_OK);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
	guard.is_open = false;
	static const uint8_t head[8] = {0, 0, 0, 0, 2, 0, 0, 0};
	enum { DEPTH = 4000 };
	struct str bytes = {.max = 0};
	str_addn(&bytes, head, sizeof head);
	amqp_put_descriptor(&bytes, AMQP_OPEN);
	size_t marks[DEPTH];
	for (int i = 0; i < DEPTH; i++) {
		marks[i] = amqp_begin_list(&bytes);
	}
	for (int i = DEPTH; i > 0; i--) {
		amqp_end(&bytes, marks[i - 1], i == DEPTH ? 0 : 1);
	}
	struct amqp_tap_frame f = {
		.kind = AMQP_TAP_FRAME,
		.bytes = span_of(bytes.p, bytes.len),
		.performative = AMQP_OPEN,
	};
	struct err_detail d = {""};
	struct amqp_guard_verdict v;
	ck_assert_int_eq(amqp_guard_check(&guard, &f, &v, &d), ERR_DECODE);
	str_fini(&bytes);
}
END_TEST

START_TEST(short_memory_is_told)
{
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	struct str bytes = {.max = 0};
	uint32_t handle = 1;
	build(&bytes, AMQP_ATTACH, true, &handle, 1);
	struct amqp_tap_frame f = {
		.kind = AMQP_TAP_FRAME,
		.bytes = span_of(bytes.p, bytes.len),
		.performative = AMQP_ATTACH,
	};
	struct err_detail d = {""};
	struct amqp_guard_verdict v;
	mem_fault_at(1);
	ck_assert_int_eq(amqp_guard_check(&guard, &f, &v, &d), ERR_NOMEM);
	mem_fault_at(0);
	ck_assert_int_eq(amqp_guard_check(&guard, &f, &v, &d), ERR_OK);
	str_fini(&bytes);
}
END_TEST

START_TEST(payload_is_what_follows_the_performative)
{
	ck_assert_int_eq(feed(BEGIN(0)), ERR_OK);
	ck_assert_int_eq(feed(ATTACH(0, 2)), ERR_OK);
	struct str bytes = {.max = 0};
	uint32_t handle = 2;
	build(&bytes, AMQP_TRANSFER, false, &handle, 1);
	size_t head = bytes.len;
	str_add(&bytes, "payload");
	struct amqp_tap_frame f = {
		.kind = AMQP_TAP_FRAME,
		.bytes = span_of(bytes.p, bytes.len),
		.performative = AMQP_TRANSFER,
		.handle = 2,
		.has_delivery_id = true,
	};
	struct err_detail d = {""};
	struct amqp_guard_verdict v;
	ck_assert_int_eq(amqp_guard_check(&guard, &f, &v, &d), ERR_OK);
	ck_assert(span_eq_str(v.payload, "payload"));
	ck_assert_ptr_eq(v.payload.p, (const uint8_t *)bytes.p + head);
	str_fini(&bytes);
}
END_TEST

/* What Proton is fed is read back by the input tap. */
START_TEST(transfer_is_written_anew)
{
	static const uint8_t protocol[8] = {'A', 'M', 'Q', 'P', 0, 1, 0, 0};
	uint8_t tag[AMQP_GUARD_TAG + 1];
	memset(tag, 't', sizeof tag);
	for (size_t n = 0; n <= sizeof tag; n++) {
		struct amqp_guard g = {.is_open = true, .begun = {1}};
		struct amqp_guard_handle handle = {.handle = UINT32_C(0x7fffffff), .channel = 0};
		g.handles = mem_dup(&handle, sizeof handle);
		g.n = 1;
		g.cap = 1;
		struct str s = {.max = 0};
		static const uint8_t head[8] = {0, 0, 0, 0, 2, 0, 0, 0};
		str_addn(&s, head, sizeof head);
		amqp_put_descriptor(&s, AMQP_TRANSFER);
		size_t mark = amqp_begin_list(&s);
		amqp_put_uint(&s, handle.handle);
		amqp_put_uint(&s, 77);
		amqp_put_binary(&s, span_of(tag, n));
		amqp_put_uint(&s, UINT32_C(0x80013700));
		amqp_put_bool(&s, true);
		amqp_put_bool(&s, true);
		amqp_end(&s, mark, 6);
		struct amqp_tap_frame f = {
			.kind = AMQP_TAP_FRAME,
			.bytes = span_of(s.p, s.len),
			.performative = AMQP_TRANSFER,
			.handle = handle.handle,
			.has_delivery_id = true,
			.delivery_id = 77,
			.more = true,
		};
		struct err_detail d = {""};
		struct amqp_guard_verdict v;
		enum err e = amqp_guard_check(&g, &f, &v, &d);
		ck_assert_int_eq(e, n <= AMQP_GUARD_TAG ? ERR_OK : ERR_DECODE);
		if (e == ERR_OK) {
			struct amqp_tap_in tap;
			struct amqp_tap_frame back;
			amqp_tap_in_init(&tap, LIMIT_AMQP_FRAME);
			struct span in = span_of(protocol, sizeof protocol);
			ck_assert_int_eq(amqp_tap_in_next(&tap, &in, &back, &d), ERR_OK);
			in = v.bytes;
			ck_assert_int_eq(amqp_tap_in_next(&tap, &in, &back, &d), ERR_OK);
			ck_assert_int_eq(back.performative, AMQP_TRANSFER);
			ck_assert_uint_eq(back.handle, handle.handle);
			ck_assert(back.has_delivery_id && back.delivery_id == 77);
			ck_assert(back.more && !back.aborted && !back.has_format);
			amqp_tap_in_fini(&tap);
		}
		str_fini(&s);
		amqp_guard_fini(&g);
	}
}
END_TEST

START_TEST(order_of_open_is_kept)
{
	ck_assert_int_eq(feed((struct step){.code = AMQP_OPEN}), ERR_PROTOCOL);
	guard.is_open = false;
	ck_assert_int_eq(feed(BEGIN(0)), ERR_PROTOCOL);
	ck_assert_int_eq(feed((struct step){.code = AMQP_CLOSE}), ERR_PROTOCOL);
	ck_assert_int_eq(feed((struct step){.code = 0x42}), ERR_DECODE);
}
END_TEST

START_TEST(begin_that_answers_nothing_is_refused)
{
	struct str s = {.max = 0};
	uint32_t channel = 0;
	build(&s, AMQP_BEGIN, false, &channel, 1);
	struct amqp_tap_frame f = {
		.kind = AMQP_TAP_FRAME,
		.bytes = span_of(s.p, s.len),
		.performative = AMQP_BEGIN,
	};
	struct err_detail d = {""};
	struct amqp_guard_verdict v;
	ck_assert_int_eq(amqp_guard_check(&guard, &f, &v, &d), ERR_PROTOCOL);
	str_fini(&s);
}
END_TEST

Suite *guard_suite(void)
{
	Suite *s = suite_create("guard");
	TCase *t = tcase_create("check");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, usual_order_is_let_through);
	tcase_add_test(t, first_transfer_without_delivery_id_is_refused);
	tcase_add_test(t, transfer_after_an_abort_is_a_first_one);
	tcase_add_test(t, handle_of_a_new_link_starts_anew);
	tcase_add_test(t, channel_in_use_is_refused);
	tcase_add_test(t, handle_in_use_is_refused);
	tcase_add_test(t, frames_without_session_are_refused_or_dropped);
	tcase_add_test(t, transfer_on_no_link_is_refused);
	tcase_add_test(t, links_are_bounded);
	tcase_add_test(t, deep_nesting_is_refused);
	tcase_add_test(t, short_memory_is_told);
	tcase_add_test(t, payload_is_what_follows_the_performative);
	tcase_add_test(t, transfer_is_written_anew);
	tcase_add_test(t, order_of_open_is_kept);
	tcase_add_test(t, begin_that_answers_nothing_is_refused);
	suite_add_tcase(s, t);
	return s;
}
