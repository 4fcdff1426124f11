#include "gateway/kafka/messages.h"

#include <assert.h>

#include "gateway/kafka/codec_priv.h"

/* The descriptor tables. */

#define SELF_STRUCT struct KAFKA_CAT(kafka_, SELF, )
#define STRING_OF_(x) #x
#define STRING_OF(x) STRING_OF_(x)

#define ALL .first = 0, .last = KAFKA_UP
#define FROM(n) .first = n, .last = KAFKA_UP
#define ONLY(a, b) .first = a, .last = b

/* The versions come last, since they are two initialisers. */
#define FIELD(k, name_, ...) \
	{.name = #name_, .kind = k, .at = offsetof(SELF_STRUCT, name_), __VA_ARGS__},
#define UNTAGGED(null) .tag = KAFKA_NO_TAG, .null_from = null
#define TAGGED(tag_, name_, null) \
	.tag = tag_, .null_from = null, .has_at = offsetof(SELF_STRUCT, has_##name_)
#define COUNTED(name_) .n_at = offsetof(SELF_STRUCT, n_##name_)
#define DESC(of_) .of = &kafka_##of_##_desc

#define STRUCT static const struct kafka_field KAFKA_CAT(SELF, _fields, )[] = {
#define END \
	}; \
	const struct kafka_struct KAFKA_CAT(kafka_, SELF, _desc) = { \
		.name = STRING_OF(SELF), \
		.fields = KAFKA_CAT(SELF, _fields, ), \
		.n_fields = sizeof KAFKA_CAT(SELF, _fields, ) / sizeof(struct kafka_field), \
		.size = sizeof(SELF_STRUCT), \
	};
#define BOOL(name, versions, d) FIELD(KAFKA_BOOL, name, .def = d, UNTAGGED(KAFKA_NEVER), versions)
#define I8(name, versions, d) FIELD(KAFKA_I8, name, .def = d, UNTAGGED(KAFKA_NEVER), versions)
#define I16(name, versions, d) FIELD(KAFKA_I16, name, .def = d, UNTAGGED(KAFKA_NEVER), versions)
#define I32(name, versions, d) FIELD(KAFKA_I32, name, .def = d, UNTAGGED(KAFKA_NEVER), versions)
#define I64(name, versions, d) FIELD(KAFKA_I64, name, .def = d, UNTAGGED(KAFKA_NEVER), versions)
#define UUID(name, versions) FIELD(KAFKA_UUID, name, UNTAGGED(KAFKA_NEVER), versions)
#define STRING(name, versions) FIELD(KAFKA_STRING, name, UNTAGGED(KAFKA_NEVER), versions)
#define NSTRING(name, versions, null) FIELD(KAFKA_STRING, name, UNTAGGED(null), versions)
#define BYTES(name, versions) FIELD(KAFKA_BYTES, name, UNTAGGED(KAFKA_NEVER), versions)
#define RECORDS(name, versions) FIELD(KAFKA_RECORDS, name, UNTAGGED(0), versions)
#define ARRAY(name, versions, of) \
	FIELD(KAFKA_ARRAY, name, DESC(of), COUNTED(name), UNTAGGED(KAFKA_NEVER), versions)
#define NARRAY(name, versions, of, null) \
	FIELD(KAFKA_ARRAY, name, DESC(of), COUNTED(name), UNTAGGED(null), versions)
#define ARRAY_I32(name, versions) \
	FIELD(KAFKA_ARRAY_I32, name, COUNTED(name), UNTAGGED(KAFKA_NEVER), versions)
#define ARRAY_STRING(name, versions) \
	FIELD(KAFKA_ARRAY_STRING, name, COUNTED(name), UNTAGGED(KAFKA_NEVER), versions)
#define NARRAY_STRING(name, versions, null) \
	FIELD(KAFKA_ARRAY_STRING, name, COUNTED(name), UNTAGGED(null), versions)
#define TAG_BOOL(name, versions, tag, d) \
	FIELD(KAFKA_BOOL, name, .def = d, TAGGED(tag, name, KAFKA_NEVER), versions)
#define TAG_I16(name, versions, tag, d) \
	FIELD(KAFKA_I16, name, .def = d, TAGGED(tag, name, KAFKA_NEVER), versions)
#define TAG_I64(name, versions, tag, d) \
	FIELD(KAFKA_I64, name, .def = d, TAGGED(tag, name, KAFKA_NEVER), versions)
#define TAG_NSTRING(name, versions, tag) FIELD(KAFKA_STRING, name, TAGGED(tag, name, 0), versions)
#define TAG_STRUCT(name, versions, tag, of) \
	FIELD(KAFKA_STRUCT, name, DESC(of), TAGGED(tag, name, KAFKA_NEVER), versions)
#define TAG_ARRAY(name, versions, tag, of) \
	FIELD(KAFKA_ARRAY, name, DESC(of), COUNTED(name), TAGGED(tag, name, KAFKA_NEVER), versions)
#include "gateway/kafka/messages.def"
#include "gateway/kafka/messages_undef.def"

static const struct kafka_api apis[] = {
#define API(key_, Name, name_, first_, last_, advertised, flexible) \
	{.key = key_, \
	 .name = #Name, \
	 .first = first_, \
	 .last = last_, \
	 .advertised_first = advertised, \
	 .first_flexible = flexible, \
	 .request = &kafka_##name_##_request_desc, \
	 .response = &kafka_##name_##_response_desc},
#include "gateway/kafka/messages.def"
#undef API
};

#define API(key, Name, name, first, last, advertised, flexible) \
	_Static_assert((key) < KAFKA_API_MAX && (first) <= (last) && (advertised) <= (first), #Name);
#include "gateway/kafka/messages.def"
#undef API

const struct kafka_api *kafka_apis(uint32_t *n)
{
	*n = sizeof apis / sizeof *apis;
	return apis;
}

const struct kafka_api *kafka_api_find(int16_t key)
{
	for (size_t i = 0; i < sizeof apis / sizeof *apis; i++) {
		if (apis[i].key == key) {
			return &apis[i];
		}
	}
	return NULL;
}

size_t kafka_struct_size(const struct kafka_struct *s)
{
	assert(s != NULL);
	return s->size;
}
