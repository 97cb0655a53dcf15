#!/usr/bin/env bash
# Runs inside the booted system, see boot.sh: installs the service as the manual says, and looks at it from outside.
set -uo pipefail
failures=0

ok() { printf 'ok      %s\n' "$*"; }
failed() {
  printf 'FAILED  %s\n' "$*"
  failures=$((failures + 1))
}

# check WHAT COMMAND...: the command has to succeed.
check() {
  local what="$1" said
  shift
  if said="$("$@" 2>&1)"; then ok "$what"; else failed "$what: ${said:-no} ($*)"; fi
}

# eventually SECONDS WHAT COMMAND...: the command has to succeed within this time.
eventually() {
  local until=$((SECONDS + $1)) what="$2"
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= until)); then
      failed "$what: not in time ($*)"
      return 1
    fi
    sleep 0.1
  done
  ok "$what"
}

is() { [[ "$1" == "$2" ]] || { printf '%s instead of %s' "$1" "$2"; return 1; }; }
like() { [[ "$1" =~ $2 ]] || { printf '%s is not like %s' "$1" "$2"; return 1; }; }
show() { systemctl show --value -p "$1" "${2:-tagsyncd}"; }
property() { is "$(show "$1")" "$2"; }
pid() { show MainPID; }
of_process() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$(pid)/status"; }

# The names of the tags that the fake GitLab has, asked without any of our code.
far() {
  exec 3<>"/dev/tcp/127.0.0.1/${gitlab##*:}" || return
  printf 'GET /api/v4/projects/infra%%2Fcore/repository/tags HTTP/1.0\r\nHost: fake\r\nPRIVATE-TOKEN: secret\r\n\r\n' >&3
  cat <&3
  exec 3>&-
}
has_far() { far | grep -q "\"name\":\"$1\""; }

# Tags as git would write them.
tag() { install -m 640 -o git -g tagsyncd-repositories /source/one "/srv/git/core.git/refs/tags/$1"; }

# Nothing in the state directory belongs to anybody else.
state_belongs_to() { [[ -e /var/lib/private/tagsyncd/ledger.db ]] && is "$(find /var/lib/private/tagsyncd ! -uid "$1" 2>&1)" ""; }

journal() { journalctl --quiet --no-pager --output=cat "$@"; }
in_journal() { [[ -n "$(journal "$@")" ]]; }

printf '%s, %s\n' "$(systemctl --version | head -n 1)" "$(uname -r)"

# There is nothing but the loopback interface, so being online is not waited for.
systemctl mask --now --quiet systemd-networkd-wait-online.service

# --- Installing, as the manual says.
install -m 755 /source/tagsyncd /source/fakes /usr/bin/
install -m 644 /source/systemd/*.{service,timer,socket} /etc/systemd/system/
install -m 644 /source/systemd/sysusers.d/* /etc/sysusers.d/ 2>/dev/null || install -D -m 644 -t /etc/sysusers.d /source/systemd/sysusers.d/*
install -D -m 644 -t /etc/tmpfiles.d /source/systemd/tmpfiles.d/*
check "sysusers makes the group" systemd-sysusers
printf 'secret\n' >/tmp/token
check "tmpfiles makes the folders" systemd-tmpfiles --create /etc/tmpfiles.d/tagsyncd.conf
install -m 644 /tmp/token /etc/tagsyncd/credentials/gitlab
systemd-tmpfiles --create /etc/tmpfiles.d/tagsyncd.conf
check "secrets are root's alone" is "$(stat -c '%U %a' /etc/tagsyncd/credentials /etc/tagsyncd/credentials/gitlab | tr '\n' ' ')" "root 700 root 600 "
for unit in tagsyncd tagsyncd-once; do
  install -D -m 644 -t "/etc/systemd/system/$unit.service.d" /source/systemd/examples/{credentials,repositories,home}.conf
done
# Where systemd knows it, reloads are waited for.
version="$(systemctl --version | awk 'NR == 1 { print $2 }')"
((version < 253)) || install -m 644 -t /etc/systemd/system/tagsyncd.service.d /source/systemd/examples/notify-reload.conf
systemctl daemon-reload

# --- Remotes, and repositories of other users.
systemd-run --quiet --unit=fakes --property=Type=exec sh -c 'sleep infinity | fakes >/run/fakes'
eventually 10 "the fake remotes listen" grep -q ^vers /run/fakes
gitlab="$(awk '$1 == "gitlab" { print $2 }' /run/fakes)"
codearts="$(awk '$1 == "codearts" { print $2 }' /run/fakes)"
useradd --system git
useradd --create-home --home-dir /home/alice alice
mkdir -p /srv/git
for place in /srv/git/core.git:git /home/alice/project.git:alice; do
  cp -r /source/core.git "${place%%:*}"
  chown -R "${place##*:}:tagsyncd-repositories" "${place%%:*}"
  chmod -R u=rwX,g=rX,o= "${place%%:*}"
done

configure() {
  cat >/etc/tagsyncd/config.toml <<TOML
[daemon]
state = "/var/lib/tagsyncd"
schedule = "$1"
jitter = "0s"

[repository.core]
path = "/srv/git/core.git"

[repository.home]
path = "/home/alice/project.git"

[remote.gitlab]
provider = "gitlab"
url = "$gitlab"
project = "infra/core"
token = { credential = "gitlab" }

[remote.codearts]
provider = "codearts"
url = "$codearts"
repository_id = 7
token = { credential = "gitlab" }

[job.core]
from = "core"
to = ["gitlab"]
policy = "mirror"
delete_grace = "0s"
limits = { deletes = 0 }

[job.home]
from = "home"
to = ["codearts"]
policy = "mirror"
TOML
}

# --- A configuration that is wrong: not ready, and not started again.
printf '[daemon]\nschedul = "x"\n' >/etc/tagsyncd/config.toml
check "with a wrong configuration it does not get ready" bash -c '! systemctl start tagsyncd'
check "and ends with 78" property ExecMainStatus 78
sleep 2
check "and is not started again" is "$(show ActiveState) $(show NRestarts)" "failed 0"
check "and the journal says which line" in_journal -u tagsyncd --grep 'config.toml:2'

# --- Ready.
configure @hourly
check "it gets ready" systemctl start tagsyncd
check "and runs" is "$(show ActiveState) $(show SubState)" "active running"
user="$(stat -c %u "/proc/$(pid)")"
check "as a user that exists only now" bash -c "(( $user >= 61184 && $user <= 65519 )) && ! grep -q tagsyncd /etc/passwd"
check "without a capability" is "$(of_process CapEff) $(of_process CapBnd)" "0000000000000000 0000000000000000"
check "behind a filter of system calls, and without new privileges" is "$(of_process Seccomp) $(of_process NoNewPrivs)" "2 1"
check "its state is its own" is "$(stat -c '%u %a' /var/lib/private/tagsyncd)" "$user 700"
check "and is found where the configuration says" is "$(readlink -f /var/lib/tagsyncd)" /var/lib/private/tagsyncd
eventually 20 "the credential and the group lead to a tag on the remote" has_far v1
eventually 20 "also for a repository under /home" in_journal JOB=home TAG=v1 OUTCOME=done
check "the status line says how things stand" like "$(show StatusText)" '[a-z]'
printf '        %s\n' "$(show StatusText)"
check "systemctl status shows it" bash -c 'systemctl status --no-pager tagsyncd | grep -q "Status: \"."'
check "exposure stays low with these drop-ins" systemd-analyze security --no-pager --threshold=12 tagsyncd.service
printf '        resident: %s KiB, threads: %s\n' "$(of_process VmRSS)" "$(of_process Threads)"

# --- The journal has fields.
check "a write has its fields" in_journal -u tagsyncd JOB=core REPOSITORY=core REMOTE=gitlab TAG=v1 ACTION=create
check "a line reads well alone" like "$(journal -u tagsyncd TAG=v1 JOB=core | head -n 1)" '^Wrote a tag\. tag=v1 action=create outcome=done run='
check "so does each pass" in_journal -u tagsyncd JOB=core REMOTE=gitlab STATE=changed
check "the secret is nowhere" bash -c '! journalctl --output=export | grep -qi "token.*secret"'

# --- Commands of root beside the daemon.
check "root's status finds the same state" bash -c 'tagsyncd status --format json | grep -q in_sync'
check "root's --sync says who holds the lock" bash -c 'tagsyncd --sync; (( $? == 75 ))'
tagsyncd approve 0000 >/dev/null 2>&1
tagsyncd explain core v1 >/dev/null 2>&1
check "they leave nothing that the service could not open" state_belongs_to "$user"

# --- Released by root, carried out by the service.
rm /srv/git/core.git/refs/tags/v1
tag v1.1
check "a pass can be asked for" systemctl kill --kill-whom=main --signal=USR1 tagsyncd
parked() { tagsyncd status --format json | grep -o '"plan":"[^"]*"' | head -n 1 | cut -d '"' -f 4; }
is_parked() { [[ -n "$(parked)" ]]; }
eventually 20 "a delete beyond the limit is parked" is_parked
check "and still there" has_far v1
check "root releases it" tagsyncd approve "$(parked)"
gone_far() { far >/tmp/far && ! grep -q "\"name\":\"$1\"" /tmp/far; }
eventually 20 "and the service carries it out at once" gone_far v1
check "nothing of it is root's" state_belongs_to "$user"

# --- A pass now, and reloads.
tag v2
check "a pass can be asked for" systemctl kill --kill-whom=main --signal=USR1 tagsyncd
eventually 20 "and takes along what is new" has_far v2
process="$(pid)"
configure '* * * * * *'
check "a reload is accepted" systemctl reload tagsyncd
((version < 253)) || check "and done when that returns" in_journal -u tagsyncd --grep 'new configuration is in force'
tag v3
eventually 20 "and the new schedule is kept" has_far v3
printf 'this is no configuration\n' >>/etc/tagsyncd/config.toml
check "a reload of nonsense is accepted" systemctl reload tagsyncd
eventually 20 "and refused in the journal" in_journal -u tagsyncd --grep 'config.toml'
check "the status line says so" like "$(show StatusText)" 'onfiguration'
printf '        %s\n' "$(show StatusText)"
tag v4
eventually 20 "and the old configuration goes on" has_far v4
check "in the same process" is "$(pid) $(show NRestarts)" "$process 0"
configure '* * * * * *'
systemctl reload tagsyncd

# --- Stopping.
began=$SECONDS
check "it stops" systemctl stop tagsyncd
check "within 20 seconds" bash -c "(( $SECONDS - $began <= 20 ))"
check "in order" is "$(show Result) $(show ExecMainStatus)" "success 0"
check "its user is gone" bash -c '! getent passwd tagsyncd'

# --- The watchdog.
mkdir -p /run/systemd/system/tagsyncd.service.d
printf '[Service]\nWatchdogSec=2\nRestartSec=1\n' >/run/systemd/system/tagsyncd.service.d/watchdog.conf
systemctl daemon-reload
check "it gets ready with a short watchdog" systemctl start tagsyncd
sleep 5
check "which it feeds" is "$(show NRestarts) $(show ActiveState)" "0 active"
process="$(pid)"
kill -STOP "$process"
eventually 30 "a daemon that hangs is killed and started again" property NRestarts 1
eventually 30 "and gets ready again" property SubState running
check "as another process" bash -c "(( $(pid) != $process ))"
check "the journal names the watchdog" in_journal -u tagsyncd --grep 'Watchdog timeout'
tag v5
eventually 20 "and works" has_far v5

# --- Killed in the midst of things.
kill -KILL "$(pid)"
eventually 30 "a daemon that is killed is started again" property NRestarts 2
eventually 30 "and gets ready, too" property SubState running
rm /run/systemd/system/tagsyncd.service.d/watchdog.conf
systemctl daemon-reload
systemctl stop tagsyncd

# --- The one-shot and its timer, and root by hand, all with the same state.
tag v6
check "the one-shot runs" systemctl start tagsyncd-once
check "and has done its work when it returns" has_far v6
mkdir -p /run/systemd/system/tagsyncd-once.timer.d
printf '[Timer]\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\n' >/run/systemd/system/tagsyncd-once.timer.d/often.conf
systemctl daemon-reload
tag v7
check "the timer starts" systemctl start tagsyncd-once.timer
eventually 20 "and makes it run" has_far v7
systemctl stop tagsyncd-once.timer
one_shot_rests() { is "$(show ActiveState tagsyncd-once)" inactive; }
eventually 20 "and ends" one_shot_rests
tag v8
rm /var/lib/private/tagsyncd/*
check "root makes a pass by hand, with a token of its own" env CREDENTIALS_DIRECTORY=/etc/tagsyncd/credentials tagsyncd --sync --quiet
check "which writes" has_far v8
check "and leaves nothing that the service could not open" state_belongs_to "$user"

# --- Root was here before the service ever was.
rm -rf /var/lib/tagsyncd /var/lib/private/tagsyncd
check "root makes the very first pass" env CREDENTIALS_DIRECTORY=/etc/tagsyncd/credentials tagsyncd --sync --quiet
check "and the service takes the state over" systemctl start tagsyncd
check "with all that is in it" state_belongs_to "$(stat -c %u "/proc/$(pid)")"
tag v9
eventually 20 "and works with it" has_far v9
systemctl stop tagsyncd

# --- With a permanent user of the same name.
useradd --system tagsyncd
check "a permanent user takes over" systemctl start tagsyncd
check "with all of the state" state_belongs_to "$(id -u tagsyncd)"
check "and runs" is "$(stat -c %U "/proc/$(pid)")" tagsyncd
systemctl stop tagsyncd
userdel tagsyncd

# --- By socket activation.
get() {
  exec 3<>/dev/tcp/127.0.0.1/9465 || return
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}
healthy() { get /healthz | grep -q ' 200 '; }
check "the socket opens" systemctl start tagsyncd.socket
check "nothing runs behind it" is "$(show ActiveState)" inactive
eventually 30 "the first connection starts the service, which answers" healthy
check "by the socket that it was given" like "$(systemctl show -p TriggeredBy --value tagsyncd) $(show SubState)" 'tagsyncd.socket running'
systemctl stop tagsyncd.socket tagsyncd

if ((failures)); then
  printf '%s\n' "--- the journal of the service:"
  journalctl --quiet --no-pager -u tagsyncd -u tagsyncd-once | tail -n 80
  printf '%s checks failed\n' "$failures"
else
  printf 'all in order\n'
fi
