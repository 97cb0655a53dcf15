#!/usr/bin/env bash
# What systemd itself says about the shipped units without running them: they verify silently, alone and with each example, and
# their exposure is at most 1.1.
#
# usage: offline.sh PROGRAM
#
# Needs systemd-analyze, of systemd 252 or later.
set -euo pipefail
here="$(cd "$(dirname "$0")/../.." && pwd)/systemd"
program="$(realpath "$1")"
# In tenths, as systemd-analyze wants it.
threshold=11

# A file system with nothing in it but systemd's own units, ours, and what they start.
root="$(mktemp -d)"
trap 'rm -rf "$root"' EXIT
units="$root/etc/systemd/system"
mkdir -p "$units" "$root/usr/lib/systemd" "$root/usr/bin" "$root/bin"
for place in /usr/lib/systemd/system /lib/systemd/system; do
  if [[ -d "$place" ]]; then cp -a "$place" "$root/usr/lib/systemd/" && break; fi
done
cp "$program" "$root/usr/bin/tagsyncd"
cp "$(type -P true)" "$root/bin/kill"
cp "$here"/*.service "$here"/*.timer "$here"/*.socket "$units"

verify() {
  local said
  said="$(systemd-analyze verify --root="$root" "$@" 2>&1)" || { printf '%s\n' "$said" && return 1; }
  # Older versions do not know the type, as the example says.
  said="$(grep -v 'notify-reload.conf:.*ignoring: notify-reload' <<<"$said" || true)"
  [[ -z "$said" ]] || { printf '%s\n' "$said" && return 1; }
}

exposure() { systemd-analyze security --offline=true --root="$root" --threshold="$threshold" "$1" | tail -n 1; }

verify tagsyncd.service tagsyncd-once.service tagsyncd-once.timer tagsyncd.socket
for service in tagsyncd tagsyncd-once; do exposure "$service.service"; done
for example in "$here"/examples/*.conf; do
  unit=tagsyncd.service
  [[ "$(basename "$example")" == listen.conf ]] && unit=tagsyncd.socket
  install -D -m 644 -t "$units/$unit.d" "$example"
  printf 'with %s: ' "$(basename "$example")"
  verify "$unit"
  exposure tagsyncd.service
  rm -r "$units/$unit.d"
done
