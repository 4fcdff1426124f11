#include "base/keyhash.h"

#include <stdlib.h>

static uint32_t rot(uint32_t x, unsigned k)
{
	return x << k | x >> (32 - k);
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int16_t keyhash(struct span key)
{
	uint32_t a = 0xdeadbeefU + (uint32_t)key.n;
	uint32_t b = a;
	uint32_t c = a;
	const uint8_t *p = key.p;
	size_t n = key.n;
	while (n > 12) {
		a += le32(p);
		b += le32(p + 4);
		c += le32(p + 8);
		a -= c; a ^= rot(c, 4); c += b;
		b -= a; b ^= rot(a, 6); a += c;
		c -= b; c ^= rot(b, 8); b += a;
		a -= c; a ^= rot(c, 16); c += b;
		b -= a; b ^= rot(a, 19); a += c;
		c -= b; c ^= rot(b, 4); b += a;
		p += 12;
		n -= 12;
	}
	if (n != 0) {
		uint8_t tail[12] = {0};
		memcpy(tail, p, n);
		a += le32(tail);
		b += le32(tail + 4);
		c += le32(tail + 8);
		c ^= b; c -= rot(b, 14);
		a ^= c; a -= rot(c, 11);
		b ^= a; b -= rot(a, 25);
		c ^= b; c -= rot(b, 16);
		a ^= c; a -= rot(c, 4);
		b ^= a; b -= rot(a, 14);
		c ^= b; c -= rot(b, 24);
	}
	return (int16_t)(uint16_t)(c ^ b);
}

uint32_t keyhash_partition(struct span key, uint32_t partitions)
{
	return (uint32_t)abs((int)keyhash(key) % (int)partitions);
}
