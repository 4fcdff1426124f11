#!/usr/bin/env bash
# What `make install` puts in place works from there.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
root=$WORK_DIR/root
check "make install" make -s install DESTDIR="$root" PREFIX=/usr sysconfdir=/etc
for f in usr/bin/sluice usr/share/man/man1/sluice.1 usr/lib/systemd/system/sluice.service usr/lib/sysusers.d/sluice.conf etc/sluice/sluice.json; do
	[ -s "$root/$f" ] && ok "installs $f" || not_ok "installs $f"
done
SLUICE_BIN=$root/usr/bin/sluice
server_start --config "$root/etc/sluice/sluice.json" || { not_ok "the installed server starts with its configuration" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
ok "the installed server starts with its configuration"
"$SLUICE_BIN" hub show events --data "$DATA" >/dev/null && ok "and has its hub" || not_ok "and has its hub"
server_stop || not_ok "stops" "status $?"
check "make uninstall" make -s uninstall DESTDIR="$root" PREFIX=/usr
[ -e "$root/usr/bin/sluice" ] && not_ok "uninstall removes it" || ok "uninstall removes it"
finish
