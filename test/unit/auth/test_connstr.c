#include "auth/connstr.h"

#include "base/mem.h"
#include "source.h"

#define NAME_AND_KEY ";SharedAccessKeyName=n;SharedAccessKey=k"

START_TEST(all_fields_are_read)
{
	struct auth_connstr cs;
	ck_assert_int_eq(auth_connstr_parse(
				 span_str(" endpoint = sb://Local.host:5672/ ;SHAREDACCESSKEYNAME=Root;"
					  "SharedAccessKey=a=b==;EntityPath=My-Hub;Unknown=x;"
					  "UseDevelopmentEmulator=TRUE;;\n"),
				 &cs, NULL), ERR_OK);
	ck_assert_str_eq(cs.host, "Local.host");
	ck_assert_int_eq(cs.port, 5672);
	ck_assert_str_eq(cs.key_name, "Root");
	ck_assert_str_eq(cs.key, "a=b==");
	ck_assert_str_eq(cs.hub, "My-Hub");
	ck_assert_str_eq(cs.signature, "");
	ck_assert(cs.emulator);
}
END_TEST

START_TEST(signature_is_read_whole)
{
	struct auth_connstr cs;
	ck_assert_int_eq(auth_connstr_parse(span_str("Endpoint=sb://h/;SharedAccessSignature="
						     "SharedAccessSignature sr=h&sig=a%3D&se=1&skn=n"),
					    &cs, NULL), ERR_OK);
	ck_assert_str_eq(cs.signature, "SharedAccessSignature sr=h&sig=a%3D&se=1&skn=n");
	ck_assert_str_eq(cs.key, "");
	ck_assert(!cs.emulator);
}
END_TEST

static const struct {
	const char *endpoint;
	const char *host;	/* NULL: refused */
	int port;
} endpoints[] = {
	{"sb://h", "h", 0},	       {"sb://h/", "h", 0},
	{"sb://h:1/", "h", 1},	       {"amqps://h:65535", "h", 65535},
	{"https://h:443/path", "h", 443}, {"h.example.net:5671", "h.example.net", 5671},
	{"localhost", "localhost", 0}, {"sb://[::1]:5671/", "::1", 5671},
	{"sb://[fe80::1]/", "fe80::1", 0}, {"sb://h:0/", NULL, 0},
	{"sb://h:65536/", NULL, 0},    {"sb://h:/", NULL, 0},
	{"sb://h:123456/", NULL, 0},   {"sb://h:5x/", NULL, 0},
	{"sb:///", NULL, 0},	       {"sb://:5671/", NULL, 0},
	{"sb://[::1", NULL, 0},	       {"sb://[::1]5/", NULL, 0},
	{"sb://a b/", NULL, 0},	       {"sb://[]/", NULL, 0},
	{"", NULL, 0},
};

START_TEST(endpoint_is_taken_apart)
{
	struct str s = {0};
	struct auth_connstr cs;
	struct err_detail d = {0};
	str_printf(&s, "Endpoint=%s" NAME_AND_KEY, endpoints[_i].endpoint);
	enum err e = auth_connstr_parse(span_of(s.p, s.len), &cs, &d);
	if (endpoints[_i].host == NULL) {
		ck_assert_int_eq(e, ERR_INVALID);
		ck_assert_ptr_nonnull(strstr(d.text, "Endpoint"));
	} else {
		ck_assert_int_eq(e, ERR_OK);
		ck_assert_str_eq(cs.host, endpoints[_i].host);
		ck_assert_int_eq(cs.port, endpoints[_i].port);
	}
	str_fini(&s);
}
END_TEST

START_TEST(bad_string_names_the_field_and_no_secret)
{
	static const struct {
		const char *text;
		const char *field;
	} rows[] = {
		{"", "Endpoint"},
		{"SharedAccessKeyName=n;SharedAccessKey=sesame", "Endpoint"},
		{"Endpoint=sb://h/", "SharedAccessKeyName"},
		{"Endpoint=sb://h/;SharedAccessKey=sesame", "SharedAccessKeyName"},
		{"Endpoint=sb://h/;SharedAccessKeyName=n", "SharedAccessKey"},
		{"Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=", "SharedAccessKey"},
		{"Endpoint=sb://h/" NAME_AND_KEY ";SharedAccessSignature=sesame", "exclude"},
		{"Endpoint=sb://h/" NAME_AND_KEY ";SharedAccessKey=sesame", "twice"},
		{"Endpoint=sb://h/;sesame", "'='"},
		{"Endpoint=sb://h/" NAME_AND_KEY ";UseDevelopmentEmulator=yes",
		 "UseDevelopmentEmulator"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct auth_connstr cs;
		struct err_detail d = {0};
		static const struct auth_connstr zero;
		ck_assert_int_eq(auth_connstr_parse(span_str(rows[i].text), &cs, &d), ERR_INVALID);
		ck_assert_msg(strstr(d.text, rows[i].field) != NULL, "%s", d.text);
		ck_assert_ptr_null(strstr(d.text, "sesame"));
		ck_assert_mem_eq(&cs, &zero, sizeof cs);
	}
	struct auth_connstr cs;
	ck_assert_int_eq(auth_connstr_parse(span_of("Endpoint=sb://h/" NAME_AND_KEY "\0x", 58), &cs,
					    NULL), ERR_INVALID);
	ck_assert_int_eq(auth_connstr_parse(span_of(NULL, 0), &cs, NULL), ERR_INVALID);
}
END_TEST

START_TEST(field_lengths_are_bounded)
{
	char name[LIMIT_POLICY_KEY + 2];
	memset(name, 'n', sizeof name);
	static const char *const formats[] = {
		"Endpoint=sb://h/;SharedAccessKeyName=%.*s;SharedAccessKey=k",
		"Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=%.*s",
		"Endpoint=sb://h/" NAME_AND_KEY ";EntityPath=%.*s",
	};
	for (size_t i = 0; i < 3; i++) {
		for (int n = LIMIT_POLICY_KEY - 1; n <= LIMIT_POLICY_KEY + 1; n++) {
			struct auth_connstr cs;
			struct str s = {0};
			const char *f = formats[i];
			const char *at = strstr(f, "%.*s");
			str_addn(&s, f, (size_t)(at - f));
			str_addn(&s, name, (size_t)n);
			str_add(&s, at + 4);
			ck_assert_int_eq(auth_connstr_parse(span_of(s.p, s.len), &cs, NULL),
					 n <= LIMIT_POLICY_KEY ? ERR_OK : ERR_INVALID);
			str_fini(&s);
		}
	}
}
END_TEST

START_TEST(printed_string_is_read_back)
{
	static const char *const rows[] = {
		"Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=k=",
		"Endpoint=sb://h:5672/;SharedAccessKeyName=n;SharedAccessKey=k;"
		"UseDevelopmentEmulator=true;EntityPath=hub",
		"Endpoint=sb://[::1]:9/;SharedAccessSignature=SharedAccessSignature sr=a&sig=b",
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct auth_connstr cs;
		struct str s = {0};
		ck_assert_int_eq(auth_connstr_parse(span_str(rows[i]), &cs, NULL), ERR_OK);
		ck_assert_int_eq(auth_connstr_print(&cs, &s), ERR_OK);
		ck_assert_str_eq(s.p, rows[i]);
		str_fini(&s);
	}
}
END_TEST

START_TEST(value_that_would_break_the_string_is_not_printed)
{
	struct auth_connstr cs = {.host = "h", .key_name = "n", .key = "a;EntityPath=x"};
	struct str s = {0};
	ck_assert_int_eq(auth_connstr_print(&cs, &s), ERR_INVALID);
	memcpy(cs.key, "k", 2);
	memcpy(cs.host, "a/b", 4);
	ck_assert_int_eq(auth_connstr_print(&cs, &s), ERR_INVALID);
	cs.host[0] = '\0';
	ck_assert_int_eq(auth_connstr_print(&cs, &s), ERR_INVALID);
	ck_assert_ptr_null(s.p);
}
END_TEST

START_TEST(each_failed_allocation_of_print_is_reported)
{
	struct auth_connstr cs = {.host = "host.example.net", .port = 5671, .key_name = TEST_ROOT,
				  .key = TEST_KEY, .hub = "a-hub-with-a-longer-name",
				  .emulator = true};
	for (long n = 1; n < 100; n++) {
		struct str s = {0};
		mem_fault_at(n);
		enum err e = auth_connstr_print(&cs, &s);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		str_fini(&s);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		if (!fired) {
			ck_assert_int_gt(n, 1);
			return;
		}
	}
	ck_abort_msg("allocations without end");
}
END_TEST

Suite *connstr_suite(void)
{
	Suite *s = suite_create("connstr");
	TCase *t = tcase_create("connstr");
	tcase_add_test(t, all_fields_are_read);
	tcase_add_test(t, signature_is_read_whole);
	tcase_add_loop_test(t, endpoint_is_taken_apart, 0,
			    (int)(sizeof endpoints / sizeof *endpoints));
	tcase_add_test(t, bad_string_names_the_field_and_no_secret);
	tcase_add_test(t, field_lengths_are_bounded);
	tcase_add_test(t, printed_string_is_read_back);
	tcase_add_test(t, value_that_would_break_the_string_is_not_printed);
	tcase_add_test(t, each_failed_allocation_of_print_is_reported);
	suite_add_tcase(s, t);
	return s;
}
