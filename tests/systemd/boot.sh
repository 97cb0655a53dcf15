#!/usr/bin/env bash
# Installs the shipped units into a Debian of its own, boots that under a real systemd, and looks whether the service does what
# they promise: checks.sh runs inside.
#
# usage: boot.sh PROGRAM FAKES [SUITE]
#
# Needs root, git, and Debian's systemd-container and debootstrap. Where no systemd can be booted it says why and ends with 0.
# The bare system is made once, in target/systemd; each boot has a throw-away layer above it.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
program="$(realpath "$1")" fakes="$(realpath "$2")"
suite="${3:-bookworm}"
base="$root/target/systemd/$suite"

cannot() {
  printf 'NOT BOOTED: %s. The offline checks of the units stand alone.\n' "$*"
  exit 0
}

[[ "$(id -u)" == 0 ]] || cannot "this needs root, and runs as $(id -un)"
for tool in systemd-nspawn debootstrap unshare git; do
  command -v "$tool" >/dev/null || cannot "$tool is missing"
done

if [[ ! -e "$base/complete" ]]; then
  rm -rf "$base" && mkdir -p "$base"
  # What the service needs of a host: systemd with dbus, and /bin/kill for its reloads.
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,ca-certificates "$suite" "$base/tree" >"$base/log" 2>&1 ||
    cannot "debootstrap failed: $(tail -n 1 "$base/log")"
  rm -f "$base/tree/etc/machine-id"
  touch "$base/complete"
fi

# What the checks find at /source: programs, units, and a repository with two commits that the fake remotes know.
source="$(mktemp -d)"
trap 'rm -rf "$source"' EXIT
cp "$program" "$source/tagsyncd"
cp "$fakes" "$source/fakes"
cp -r "$root/systemd" "$source/systemd"
cp "$here/checks.sh" "$source/checks.sh"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=C \
  GIT_COMMITTER_EMAIL=c@example.com GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
repository="$source/core.git"
git init --quiet --bare "$repository"
tree="$(git -C "$repository" mktree </dev/null)"
for text in one two; do
  git -C "$repository" commit-tree "$tree" -m "$text" >"$source/$text"
done
git -C "$repository" tag v1 "$(<"$source/one")"

# systemd wants a hierarchy of control groups of the second version alone. Where the machine has another layout, only what
# runs below sees the difference.
boot() {
  timeout --kill-after=10 240 unshare --mount --propagation private bash -c '
    if [[ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]]; then
      umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 99
    fi
    exec systemd-nspawn --quiet --boot --register=no --keep-unit --private-network --console=pipe --machine="$1" \
      --capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN --volatile=overlay --directory="$2" --bind-ro="$3:/source" --bind="$3/results:/results" \
      --bind-ro="$3/checks.service:/etc/systemd/system/checks.service" \
      systemd.unit=multi-user.target "systemd.wants=checks.service"
  ' boot "tagsyncd-$$" "$base/tree" "$source" </dev/null
}

mkdir "$source/results"
printf '%s\n' '[Unit]' 'After=multi-user.target' '[Service]' 'Type=oneshot' 'ExecStart=/bin/bash /source/checks.sh' \
  'StandardOutput=file:/results/log' 'StandardError=inherit' 'ExecStopPost=/bin/systemctl poweroff --force --no-block' \
  >"$source/checks.service"
boot >"$source/console" 2>&1 || true
if [[ ! -s "$source/results/log" ]]; then
  cannot "systemd-nspawn gave: $(tail -n 3 "$source/console" | tr '\n' ' ')"
fi
cat "$source/results/log"
[[ "$(tail -n 1 "$source/results/log")" == "all in order" ]]
