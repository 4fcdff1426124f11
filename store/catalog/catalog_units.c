/* Throughput units: who may set them to what. */

#include <assert.h>

#include "store/catalog/catalog_priv.h"

/* 49 days, as every setting of time that is kept in 32 bits. */
static const int64_t deflate_after_max_ms = INT64_C(4233600000);

static bool is_deflate_after(int64_t ms)
{
	return ms >= 0 && ms <= deflate_after_max_ms;
}

static enum err check_count(const char *what, uint32_t n, struct err_detail *d)
{
	if (n > LIMIT_UNITS) {
		return err_set(d, ERR_LIMIT, "%s: at most %d throughput units, not %u", what,
			       LIMIT_UNITS, n);
	}
	return ERR_OK;
}

static enum err check_values(const struct catalog_command *cmd, struct err_detail *d)
{
	const struct catalog_units *u = &cmd->units;
	enum err e = cmd->has_units ? check_count("units", u->units, d) : ERR_OK;
	if (e == ERR_OK && cmd->has_inflate_max) {
		e = check_count("auto-inflate maximum", u->inflate_max, d);
	}
	if (e == ERR_OK && cmd->has_deflate_after && !is_deflate_after(u->deflate_after_ms)) {
		e = err_set(d, ERR_INVALID, "the time before units shrink is 0 to %lld ms, not %lld",
			    (long long)deflate_after_max_ms, (long long)u->deflate_after_ms);
	}
	return e;
}

static enum err check_settings(const struct catalog_units *u, struct err_detail *d)
{
	enum err e = check_count("units of the settings", u->settings_units, d);
	if (e == ERR_OK) {
		e = check_count("auto-inflate maximum of the settings", u->settings_inflate_max, d);
	}
	if (e == ERR_OK && !is_deflate_after(u->settings_deflate_after_ms)) {
		e = err_set(d, ERR_INVALID, "the settings' time before units shrink is not valid");
	}
	return e;
}

/* Load never lifts or makes a limit, and never goes past what somebody set. */
static enum err check_load(const struct catalog_units *now, const struct catalog_command *cmd,
			   struct err_detail *d)
{
	uint32_t units = cmd->units.units;
	if (!cmd->has_units || units == 0) {
		return err_set(d, ERR_INVALID, "a change by load names the units, at least 1");
	}
	if (now->units != cmd->units_was || now->units == 0) {
		return err_set(d, ERR_NOT_ALLOWED, "throughput units are %u now, no longer %u",
			       now->units, cmd->units_was);
	}
	if (units > now->units && units > now->inflate_max) {
		return err_set(d, ERR_NOT_ALLOWED, "throughput units grow up to %u, not to %u",
			       now->inflate_max, units);
	}
	if (units < now->units && units < now->base) {
		return err_set(d, ERR_NOT_ALLOWED, "throughput units shrink down to %u, not to %u",
			       now->base, units);
	}
	return ERR_OK;
}

enum err catalog_units_check(const struct catalog *c, const struct catalog_command *cmd,
			     struct err_detail *d)
{
	enum err e = check_values(cmd, d);
	if (e != ERR_OK) {
		return e;
	}
	switch (cmd->units_by) {
	case CATALOG_UNITS_BY_USER:
		return ERR_OK;
	case CATALOG_UNITS_BY_SETTINGS:
		return check_settings(&cmd->units, d);
	case CATALOG_UNITS_BY_LOAD:
		return check_load(&c->units, cmd, d);
	}
	return err_set(d, ERR_INVALID, "it is not said who changes the throughput units");
}

void catalog_units_apply(struct catalog_units *u, const struct catalog_command *cmd)
{
	if (cmd->has_units) {
		u->units = cmd->units.units;
	}
	if (cmd->units_by == CATALOG_UNITS_BY_LOAD) {
		return;
	}
	if (cmd->has_units) {
		u->base = u->units;
	}
	if (cmd->has_inflate_max) {
		u->inflate_max = cmd->units.inflate_max;
	}
	if (cmd->has_deflate_after) {
		u->deflate_after_ms = cmd->units.deflate_after_ms;
	}
	if (cmd->units_by == CATALOG_UNITS_BY_SETTINGS) {
		u->has_settings = true;
		u->settings_units = cmd->units.settings_units;
		u->settings_inflate_max = cmd->units.settings_inflate_max;
		u->settings_deflate_after_ms = cmd->units.settings_deflate_after_ms;
	}
}

void catalog_put_units(struct str *s, const struct catalog_units *u)
{
	catalog_put_u32(s, u->units);
	catalog_put_u32(s, u->base);
	catalog_put_u32(s, u->inflate_max);
	catalog_put_u64(s, (uint64_t)u->deflate_after_ms);
	catalog_put_u8(s, u->has_settings);
	catalog_put_u32(s, u->settings_units);
	catalog_put_u32(s, u->settings_inflate_max);
	catalog_put_u64(s, (uint64_t)u->settings_deflate_after_ms);
}

void catalog_get_units(struct rd *r, struct catalog_units *u)
{
	u->units = rd_u32(r);
	u->base = rd_u32(r);
	u->inflate_max = rd_u32(r);
	u->deflate_after_ms = (int64_t)rd_u64(r);
	uint8_t has_settings = rd_u8(r);
	u->has_settings = has_settings != 0;
	u->settings_units = rd_u32(r);
	u->settings_inflate_max = rd_u32(r);
	u->settings_deflate_after_ms = (int64_t)rd_u64(r);
	if (has_settings > 1 || u->base > u->units || u->units > LIMIT_UNITS ||
	    u->inflate_max > LIMIT_UNITS || !is_deflate_after(u->deflate_after_ms) ||
	    check_settings(u, NULL) != ERR_OK) {
		r->bad = true;
	}
}
