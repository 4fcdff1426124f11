#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "fixture.h"
#include "gateway/net/queue.h"

static struct net_queue queue;
static struct net_pool pool;
static uint8_t data[5 * NET_BLOCK];

static void setup(void)
{
	memset(&queue, 0, sizeof queue);
	memset(&pool, 0, sizeof pool);
	for (size_t i = 0; i < sizeof data; i++) {
		data[i] = (uint8_t)(i * 31 >> 3);
	}
}

static void teardown(void)
{
	net_queue_drop(&queue, &pool, queue.bytes);
	net_pool_fini(&pool);
}

/* Takes everything out in pieces of `piece` and compares. */
static void expect(size_t from, size_t n, size_t piece)
{
	ck_assert_uint_eq(queue.bytes, n);
	while (n > 0) {
		struct iovec iov;
		ck_assert_int_eq(net_queue_peek(&queue, &iov, 1), 1);
		size_t k = iov.iov_len < piece ? iov.iov_len : piece;
		ck_assert_int_eq(memcmp(iov.iov_base, data + from, k), 0);
		net_queue_drop(&queue, &pool, k);
		from += k;
		n -= k;
	}
	ck_assert_ptr_null(queue.head);
	ck_assert_ptr_null(queue.tail);
}

START_TEST(bytes_come_out_as_they_went_in)
{
	static const size_t piece[] = {1, 7, 1000, NET_BLOCK - 1, NET_BLOCK, NET_BLOCK + 1,
				       sizeof data};
	for (size_t at = 0; at < sizeof data; at += piece[_i]) {
		size_t n = sizeof data - at < piece[_i] ? sizeof data - at : piece[_i];
		ck_assert_int_eq(net_queue_put(&queue, &pool, data + at, n), ERR_OK);
	}
	expect(0, sizeof data, 333);
	ck_assert_int_gt(pool.count, 0);
}
END_TEST

/* Copied and referred-to bytes in turn; references go as their bytes do. */
START_TEST(foreign_bytes_keep_their_place)
{
	static const size_t piece[] = {1, 7, 1000, NET_BLOCK, sizeof data};
	struct buf *b = buf_new(sizeof data);
	memcpy(b->data, data, sizeof data);
	bool is_foreign = false;
	for (size_t at = 0; at < sizeof data;) {
		size_t n = sizeof data - at < 5000 ? sizeof data - at : 5000;
		enum err e = is_foreign
				     ? net_queue_put_buf(&queue, b, b->data + at, (uint32_t)n)
				     : net_queue_put(&queue, &pool, data + at, n);
		ck_assert_int_eq(e, ERR_OK);
		is_foreign = !is_foreign;
		at += n;
	}
	ck_assert_uint_gt(atomic_load(&b->refs), 1);
	mem_fault_at(1);
	ck_assert_int_eq(net_queue_put_buf(&queue, b, b->data, 10), ERR_NOMEM);
	mem_fault_at(0);
	expect(0, sizeof data, piece[_i]);
	ck_assert_uint_eq(atomic_load(&b->refs), 1);
	buf_drop(&b);
}
END_TEST

START_TEST(failed_allocation_queues_nothing)
{
	ck_assert_int_eq(net_queue_put(&queue, &pool, data, 10), ERR_OK);
	for (long n = 1; n <= 3; n++) {
		net_pool_fini(&pool);
		mem_fault_at(n);
		ck_assert_int_eq(net_queue_put(&queue, &pool, data + 10, 3 * NET_BLOCK), ERR_NOMEM);
		mem_fault_at(0);
	}
	ck_assert_int_eq(net_queue_put(&queue, &pool, data + 10, 50), ERR_OK);
	expect(0, 60, 1);
}
END_TEST

START_TEST(pool_keeps_a_bounded_number_of_blocks)
{
	for (int i = 0; i < NET_POOL_MAX + 10; i++) {
		ck_assert_int_eq(net_queue_put(&queue, &pool, data, NET_BLOCK), ERR_OK);
	}
	net_queue_drop(&queue, &pool, queue.bytes);
	ck_assert_int_eq(pool.count, NET_POOL_MAX);
}
END_TEST

Suite *queue_suite(void)
{
	Suite *s = suite_create("queue");
	TCase *t = tcase_create("queue");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, bytes_come_out_as_they_went_in, 0, 7);
	tcase_add_loop_test(t, foreign_bytes_keep_their_place, 0, 5);
	tcase_add_test(t, failed_allocation_queues_nothing);
	tcase_add_test(t, pool_keeps_a_bounded_number_of_blocks);
	suite_add_tcase(s, t);
	return s;
}
