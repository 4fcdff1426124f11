#include "gateway/group/subscription.h"

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/* As hubs are found: without case. */
static bool is_same_name(struct span a, struct span b)
{
	size_t i = 0;
	while (i < a.n && i < b.n && lower(a.p[i]) == lower(b.p[i])) {
		i++;
	}
	return i == a.n && i == b.n;
}

enum subscription_answer subscription_has(struct span metadata, struct span topic)
{
	struct rd r = rd_of(metadata);
	int16_t version = (int16_t)rd_u16(&r);
	int32_t n = (int32_t)rd_u32(&r);
	if (r.bad || version < 0 || n < 0) {
		return SUBSCRIPTION_UNREADABLE;
	}
	enum subscription_answer answer = SUBSCRIPTION_NO;
	for (int32_t i = 0; i < n; i++) {
		int16_t length = (int16_t)rd_u16(&r);
		if (r.bad || length < 0) {
			return SUBSCRIPTION_UNREADABLE;
		}
		struct span name = rd_span(&r, (size_t)length);
		if (r.bad) {
			return SUBSCRIPTION_UNREADABLE;
		}
		if (is_same_name(name, topic)) {
			answer = SUBSCRIPTION_YES;
		}
	}
	return answer;
}
