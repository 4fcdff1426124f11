#include "auth/sas.h"
#include "source.h"

struct row {
	const char *in;
	const char *out;	/* NULL: ERR_INVALID */
};

static const struct row paths[] = {
	{"", ""},
	{"/", ""},
	{"hub", "hub"},
	{"/Hub/", "hub"},
	{"//hub//", "hub"},
	{"sb://host", ""},
	{"sb://host/", ""},
	{"sb://host:5671/Hub", "hub"},
	{"amqps://NS.servicebus.windows.net/hub/$management", "hub/$management"},
	{"sb://h/hub/ConsumerGroups/%24Default/Partitions/0",
	 "hub/consumergroups/$default/partitions/0"},
	{"https://h/hub/messages?timeout=60&api-version=2014-01", "hub/messages"},
	{"https://h?x=/y", ""},
	{"%2Fhub%2f", "hub"},
	{"hub%3Fa", "hub?a"},
	{"hub/a+b", "hub/a+b"},
	{"hub/x://y", "hub/x://y"},
	{"/sb://host/hub", "sb://host/hub"},
	{"host.example.net/hub", "host.example.net/hub"},
	{"hub%", NULL},
	{"hub%4", NULL},
	{"hub%zz", NULL},
	{"hub%00x", NULL},
};

START_TEST(path_is_normalised)
{
	const struct row *row = &paths[_i];
	char out[AUTH_SCOPE_MAX];
	enum err e = auth_path_normalise(span_str(row->in), out);
	ck_assert_int_eq(e, row->out != NULL ? ERR_OK : ERR_INVALID);
	if (row->out != NULL) {
		ck_assert_str_eq(out, row->out);
	}
}
END_TEST

static const struct row resources[] = {
	{"sb%3A%2F%2Flocalhost%3A5671%2FHub", "hub"},
	{"sb%3a%2f%2flocalhost%2fhub%2f", "hub"},
	{"sb://localhost/hub", "hub"},
	{"ns.servicebus.windows.net/hub", "hub"},
	{"ns.servicebus.windows.net%2Fhub", "hub"},
	{"/ns.servicebus.windows.net/hub", "hub"},
	{"ns.servicebus.windows.net", ""},
	{"localhost/hub", "hub"},
	{"LocalHost", ""},
	{"localhost:5672/hub", "hub"},
	{"[::1]:5672/hub", "hub"},
	{"hub", "hub"},
	{"hub/publishers/dev.1", "hub/publishers/dev.1"},
	{"localhosts/hub", "localhosts/hub"},
	{"sb%3A%2F%2Fh%2Fhub%2Fpublishers%2Fdev%252520x", "hub/publishers/dev%20x"},
	{"sb%3A%2F%2Fh%2Fhub%2Fpublishers%2Fdev%2520x", "hub/publishers/dev x"},
	{"hub%", NULL},
	{"hub%25", NULL},
	{"hub%2500", NULL},
};

START_TEST(resource_of_a_token_loses_its_host)
{
	const struct row *row = &resources[_i];
	char out[AUTH_SCOPE_MAX];
	enum err e = auth_scope_of_resource(span_str(row->in), out);
	ck_assert_int_eq(e, row->out != NULL ? ERR_OK : ERR_INVALID);
	if (row->out != NULL) {
		ck_assert_str_eq(out, row->out);
	}
}
END_TEST

START_TEST(nul_byte_in_a_path_is_rejected)
{
	char out[AUTH_SCOPE_MAX];
	ck_assert_int_eq(auth_path_normalise(span_of("hub\0x", 5), out), ERR_INVALID);
	ck_assert_int_eq(auth_scope_of_resource(span_of("hub\0x", 5), out), ERR_INVALID);
	ck_assert_int_eq(auth_path_normalise(span_of(NULL, 0), out), ERR_OK);
	ck_assert_int_eq(auth_scope_of_resource(span_of(NULL, 0), out), ERR_OK);
}
END_TEST

START_TEST(path_length_is_bounded)
{
	char in[3 * AUTH_SCOPE_MAX];
	char out[AUTH_SCOPE_MAX];
	memset(in, 'a', sizeof in);
	ck_assert_int_eq(auth_path_normalise(span_of(in, AUTH_SCOPE_MAX - 2), out), ERR_OK);
	ck_assert_int_eq(auth_path_normalise(span_of(in, AUTH_SCOPE_MAX - 1), out), ERR_OK);
	ck_assert_uint_eq(strlen(out), AUTH_SCOPE_MAX - 1);
	ck_assert_int_eq(auth_path_normalise(span_of(in, AUTH_SCOPE_MAX), out), ERR_TOO_LARGE);
	ck_assert_int_eq(auth_scope_of_resource(span_of(in, AUTH_SCOPE_MAX - 1), out), ERR_OK);
	ck_assert_int_eq(auth_scope_of_resource(span_of(in, AUTH_SCOPE_MAX), out), ERR_TOO_LARGE);
	ck_assert_int_eq(auth_scope_of_resource(span_of(in, sizeof in), out), ERR_TOO_LARGE);
}
END_TEST

START_TEST(scope_covers_only_at_borders)
{
	ck_assert(auth_scope_covers("", ""));
	ck_assert(auth_scope_covers("", "hub/partitions/0"));
	ck_assert(auth_scope_covers("hub", "hub"));
	ck_assert(auth_scope_covers("hub", "hub/partitions/0"));
	ck_assert(!auth_scope_covers("hub", "hub2"));
	ck_assert(!auth_scope_covers("hub", "hu"));
	ck_assert(!auth_scope_covers("hub", ""));
	ck_assert(!auth_scope_covers("hub/partitions/1", "hub/partitions/10"));
	ck_assert(!auth_scope_covers("hub/partitions/1", "hub"));
}
END_TEST

START_TEST(percent_encoding_round_trips_every_byte)
{
	uint8_t all[256];
	for (size_t i = 0; i < sizeof all; i++) {
		all[i] = (uint8_t)i;
	}
	struct str enc = {0};
	struct str dec = {0};
	auth_percent_encode(span_of(all, sizeof all), &enc);
	ck_assert(!enc.bad);
	/* 66 unreserved characters stand for themselves. */
	ck_assert_uint_eq(enc.len, 66 + 3 * (256 - 66));
	ck_assert_int_eq(auth_percent_decode(span_of(enc.p, enc.len), true, &dec), ERR_OK);
	ck_assert(span_eq(span_of(dec.p, dec.len), span_of(all, sizeof all)));
	str_fini(&enc);
	str_fini(&dec);
}
END_TEST

START_TEST(plus_is_a_space_only_when_asked)
{
	struct str s = {0};
	ck_assert_int_eq(auth_percent_decode(span_str("a+b%2b%2B"), false, &s), ERR_OK);
	ck_assert_str_eq(s.p, "a+b++");
	str_fini(&s);
	ck_assert_int_eq(auth_percent_decode(span_str("a+b%2b%2B"), true, &s), ERR_OK);
	ck_assert_str_eq(s.p, "a b++");
	str_fini(&s);
	ck_assert_int_eq(auth_percent_decode(span_str("a%2"), true, &s), ERR_DECODE);
	str_fini(&s);
	s.max = 4;
	ck_assert_int_eq(auth_percent_decode(span_str("abc"), true, &s), ERR_OK);
	str_fini(&s);
	ck_assert_int_eq(auth_percent_decode(span_str("abcd"), true, &s), ERR_NOMEM);
	str_fini(&s);
}
END_TEST

Suite *path_suite(void)
{
	Suite *s = suite_create("path");
	TCase *t = tcase_create("path");
	tcase_add_loop_test(t, path_is_normalised, 0, (int)(sizeof paths / sizeof *paths));
	tcase_add_loop_test(t, resource_of_a_token_loses_its_host, 0,
			    (int)(sizeof resources / sizeof *resources));
	tcase_add_test(t, nul_byte_in_a_path_is_rejected);
	tcase_add_test(t, path_length_is_bounded);
	tcase_add_test(t, scope_covers_only_at_borders);
	tcase_add_test(t, percent_encoding_round_trips_every_byte);
	tcase_add_test(t, plus_is_a_space_only_when_asked);
	suite_add_tcase(s, t);
	return s;
}
