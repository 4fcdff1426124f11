#include <check.h>
#include <string.h>

#include "gateway/cli/client.h"
#include "gateway/cli/frame_priv.h"

static void check_bytes(const struct str *s, const uint8_t *golden, size_t n)
{
	ck_assert_uint_eq(s->len, n);
	ck_assert_mem_eq(s->p, golden, n);
}

/* Reads a frame back; the whole string must be one. */
static struct cli_frame read_back(const struct str *s)
{
	struct cli_frame f;
	ck_assert_uint_eq(get_u32((const uint8_t *)s->p), s->len);
	ck_assert_int_eq(cli_frame_read(span_of(s->p, s->len), &f), ERR_OK);
	return f;
}

START_TEST(transfer_has_fixed_bytes)
{
	static const uint8_t golden[] = {
		0,    0,    0,	  39,	2,    0,    0,	  3,	0x00, 0x53, 0x14, 0xc0, 24,
		6,    0x70, 0,	  0,	0,    5,    0x70, 0,	0,    1,    2,	  0xa0, 4,
		0,    0,    1,	  2,	0x70, 0x80, 0x01, 0x37, 0x00, 0x42, 0x41, 'h',	'i',
	};
	struct str s = {0};
	struct cli_transfer t = {.handle = 5,
				  .delivery_id = 258,
				  .format = CLI_FORMAT_BATCH,
				  .more = true};
	cli_put_transfer(&s, 3, &t, span_str("hi"));
	check_bytes(&s, golden, sizeof golden);
	struct cli_frame f = read_back(&s);
	ck_assert_uint_eq(f.code, WIRE_TRANSFER);
	ck_assert_uint_eq(f.channel, 3);
	ck_assert_uint_eq(f.field[0].u, 5);
	ck_assert_uint_eq(f.field[1].u, 258);
	ck_assert_uint_eq(f.field[2].data.n, 4);
	ck_assert_uint_eq(f.field[3].u, CLI_FORMAT_BATCH);
	ck_assert(!cli_value_true(&f.field[4]));
	ck_assert(cli_value_true(&f.field[5]));
	ck_assert_int_eq(f.field[6].type, AMQP_NULL);
	ck_assert(span_eq_str(f.payload, "hi"));
	str_fini(&s);
}
END_TEST

START_TEST(headers_and_heartbeat_have_fixed_bytes)
{
	static const uint8_t golden[] = {'A', 'M', 'Q', 'P', 3, 1, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0};
	struct str s = {0};
	cli_put_header(&s, 3);
	cli_put_heartbeat(&s);
	check_bytes(&s, golden, sizeof golden);
	str_fini(&s);
}
END_TEST

START_TEST(close_and_detach_have_fixed_bytes)
{
	static const uint8_t golden[] = {
		0, 0, 0, 20, 2, 0, 0, 0, 0x00, 0x53, 0x18, 0xd0, 0, 0, 0, 4, 0, 0, 0, 0,
		0, 0, 0, 23, 2, 0, 0, 1, 0x00, 0x53, 0x16, 0xd0, 0, 0, 0, 7, 0, 0, 0, 2, 0x52, 9, 0x41,
	};
	struct str s = {0};
	cli_put_close(&s);
	cli_put_detach(&s, 1, 9);
	check_bytes(&s, golden, sizeof golden);
	str_fini(&s);
}
END_TEST

START_TEST(open_names_host_and_limits)
{
	struct str s = {0};
	cli_put_open(&s, "me", "host.example", 60000);
	struct cli_frame f = read_back(&s);
	ck_assert_uint_eq(f.code, WIRE_OPEN);
	ck_assert(span_eq_str(f.field[0].data, "me"));
	ck_assert(span_eq_str(f.field[1].data, "host.example"));
	ck_assert_uint_eq(f.field[2].u, WIRE_MAX_FRAME);
	ck_assert_uint_eq(f.field[4].u, 60000);
	ck_assert_int_eq(f.field[9].type, AMQP_MAP);
	str_fini(&s);
}
END_TEST

START_TEST(receiver_attach_carries_the_filter)
{
	struct str s = {0};
	struct amqp_value source[8];
	struct amqp_value filter;
	struct cli_attach a = {.name = "n", .handle = 2, .receiver = true, .source = "h/x",
				.target = "t", .filter = "expr"};
	cli_put_attach(&s, 0, &a);
	struct cli_frame f = read_back(&s);
	ck_assert_uint_eq(f.code, WIRE_ATTACH);
	ck_assert(cli_value_true(&f.field[2]));
	ck_assert_uint_eq(f.field[3].u, 1);
	ck_assert_uint_eq(cli_list_read(&f.field[5], source, 8), WIRE_SOURCE);
	ck_assert(span_eq_str(source[0].data, "h/x"));
	ck_assert_int_eq(source[7].type, AMQP_MAP);
	ck_assert(amqp_map_find(&source[7], WIRE_SELECTOR, &filter));
	ck_assert_int_eq(filter.type, AMQP_DESCRIBED);
	ck_assert_uint_eq(amqp_descriptor_code(&filter), WIRE_SELECTOR_CODE);
	struct rd r = rd_of(filter.described);
	struct amqp_value text = amqp_read(&r);
	ck_assert(span_eq_str(text.data, "expr"));
	str_fini(&s);
}
END_TEST

START_TEST(sender_attach_has_an_initial_count)
{
	struct str s = {0};
	struct cli_attach a = {.name = "n", .source = "s", .target = "hub"};
	cli_put_attach(&s, 0, &a);
	struct cli_frame f = read_back(&s);
	ck_assert(!cli_value_true(&f.field[2]));
	ck_assert_uint_eq(f.field[3].u, 0);
	ck_assert_int_eq(f.field[9].type, AMQP_UINT);
	str_fini(&s);
}
END_TEST

START_TEST(sasl_init_is_a_sasl_frame)
{
	struct str s = {0};
	cli_put_sasl_init(&s, "ANONYMOUS", "h");
	struct cli_frame f = read_back(&s);
	ck_assert_uint_eq(f.type, WIRE_TYPE_SASL);
	ck_assert_uint_eq(f.code, WIRE_SASL_INIT);
	ck_assert(span_eq_str(f.field[0].data, "ANONYMOUS"));
	str_fini(&s);
}
END_TEST

/* As the service documents it: data sections, each a whole message. */
START_TEST(batch_has_fixed_bytes)
{
	static const uint8_t golden[] = {0x00, 0x53, 0x75, 0xa0, 6, 0x00, 0x53, 0x75, 0xa0, 1, 'x',
					 0x00, 0x53, 0x75, 0xa0, 5, 0x00, 0x53, 0x75, 0xa0, 0};
	struct str event = {0};
	struct str s = {0};
	cli_batch_begin(&s, NULL);
	cli_event_encode(&event, span_str("x"), NULL, NULL, 0);
	cli_batch_add(&s, span_of(event.p, event.len));
	event.len = 0;
	cli_event_encode(&event, span_str(""), NULL, NULL, 0);
	cli_batch_add(&s, span_of(event.p, event.len));
	check_bytes(&s, golden, sizeof golden);
	str_fini(&s);
	str_fini(&event);
}
END_TEST

START_TEST(every_cut_of_a_frame_is_an_error)
{
	struct str s = {0};
	struct cli_frame f;
	cli_put_open(&s, "me", "host", 1);
	for (size_t n = 0; n < s.len; n++) {
		enum err e = cli_frame_read(span_of(s.p, n), &f);
		ck_assert(n == WIRE_HEAD ? e == ERR_OK : e == ERR_PROTOCOL);
	}
	s.p[4] = 1;	/* doff below 2 */
	ck_assert_int_eq(cli_frame_read(span_of(s.p, s.len), &f), ERR_PROTOCOL);
	s.p[4] = (char)255;	/* past the end */
	ck_assert_int_eq(cli_frame_read(span_of(s.p, 64), &f), ERR_PROTOCOL);
	str_fini(&s);
}
END_TEST

START_TEST(error_text_has_condition_and_description)
{
	struct str s = {0};
	char text[64];
	amqp_put_descriptor(&s, WIRE_ERROR);
	size_t list = amqp_begin_list(&s);
	amqp_put_symbol(&s, span_str("amqp:not-found"));
	amqp_put_string(&s, span_str("no\nhub"));
	amqp_end(&s, list, 2);
	struct rd r = rd_of(span_of(s.p, s.len));
	struct amqp_value v = amqp_read(&r);
	ck_assert(cli_error_text(&v, text, sizeof text));
	ck_assert_str_eq(text, "amqp:not-found: no hub");
	struct amqp_value null = {.type = AMQP_NULL};
	ck_assert(!cli_error_text(&null, text, sizeof text));
	str_fini(&s);
}
END_TEST

Suite *frame_suite(void);
Suite *frame_suite(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("all");
	tcase_add_test(t, transfer_has_fixed_bytes);
	tcase_add_test(t, headers_and_heartbeat_have_fixed_bytes);
	tcase_add_test(t, close_and_detach_have_fixed_bytes);
	tcase_add_test(t, open_names_host_and_limits);
	tcase_add_test(t, receiver_attach_carries_the_filter);
	tcase_add_test(t, sender_attach_has_an_initial_count);
	tcase_add_test(t, sasl_init_is_a_sasl_frame);
	tcase_add_test(t, batch_has_fixed_bytes);
	tcase_add_test(t, every_cut_of_a_frame_is_an_error);
	tcase_add_test(t, error_text_has_condition_and_description);
	suite_add_tcase(s, t);
	return s;
}
