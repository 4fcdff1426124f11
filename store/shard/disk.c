/* Room on the volumes: what is free above the reserve, and what is left of the bound
 * that the operator set. An append that finds none is refused, for its volume only. */

#include <sys/statvfs.h>

#include "base/log.h"
#include "store/shard/shard_priv.h"

static bool statvfs_free_space(const char *dir, uint64_t *out)
{
	struct statvfs v;
	if (statvfs(dir, &v) != 0) {
		return false;
	}
	*out = (uint64_t)v.f_bavail * v.f_frsize;
	return true;
}

void shard_disks_init(struct shard_core *core, const struct shard_options *o)
{
	core->disk_reserve_bytes = o->disk_reserve_bytes;
	core->max_disk_bytes = o->max_disk_bytes;
	core->free_space = o->free_space != NULL ? o->free_space : statvfs_free_space;
	for (uint32_t i = 0; i < core->n_volumes; i++) {
		core->disks[i] = (struct shard_disk){
			.volume = core->volumes[i],
			.dir = core->dirs[i],
			.room_bytes = UINT64_MAX,
		};
	}
}

static uint64_t above(uint64_t have, uint64_t spoken_for)
{
	return have > spoken_for ? have - spoken_for : 0;
}

static void tell(const struct shard_core *core, const struct shard_disk *disk, bool is_full,
		 uint64_t free_bytes, uint64_t used_bytes)
{
	if (is_full) {
		log_warn("STORE-DISK-RESERVE",
			 "dir=%s free_bytes=%llu reserve_bytes=%llu used_bytes=%llu max_bytes=%llu "
			 "appends are refused until there is room",
			 log_quote(disk->dir), (unsigned long long)free_bytes,
			 (unsigned long long)core->disk_reserve_bytes,
			 (unsigned long long)used_bytes,
			 (unsigned long long)core->max_disk_bytes);
	} else {
		log_warn("STORE-DISK-FREE",
			 "dir=%s free_bytes=%llu used_bytes=%llu appends are taken again",
			 log_quote(disk->dir), (unsigned long long)free_bytes,
			 (unsigned long long)used_bytes);
	}
}

/* What cannot be asked leaves things as they are. */
static void check_core(const struct shard_core *core, struct shard_disk *disk)
{
	uint64_t free_bytes = UINT64_MAX;
	uint64_t used_bytes = 0;
	if (core->disk_reserve_bytes > 0 && !core->free_space(disk->dir, &free_bytes)) {
		return;
	}
	uint64_t room = above(free_bytes, core->disk_reserve_bytes);
	if (core->max_disk_bytes > 0) {
		used_bytes = volume_disk_bytes(disk->volume);
		uint64_t left = above(core->max_disk_bytes, used_bytes);
		room = left < room ? left : room;
	}
	disk->room_bytes = above(room, disk->waiting_bytes);
	disk->taken_bytes = 0;
	bool is_full = disk->room_bytes == 0;
	if (is_full != disk->is_full) {
		tell(core, disk, is_full, free_bytes, used_bytes);
	}
	disk->is_full = is_full;
}

int64_t shard_disks_check_core(struct shard_core *core, int64_t now_ns)
{
	if (core->disk_reserve_bytes == 0 && core->max_disk_bytes == 0) {
		return INT64_MAX;
	}
	for (uint32_t i = 0; i < core->n_volumes; i++) {
		if (core->disks[i].volume != NULL) {
			check_core(core, &core->disks[i]);
		}
	}
	return now_ns + (int64_t)SHARD_DISK_CHECK_MS * 1000000;
}
