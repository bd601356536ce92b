#!/usr/bin/env bash
# Makes an Amazon Linux 2023 instance (arm64) a worker. Run as root in /opt/mtrl, where the bundle was
# unpacked, after /etc/mtrl/adapter.env was written. May be run again: it ends in the same state.
#
#   /opt/mtrl/install.sh --log-group NAME
set -euo pipefail

home=/opt/mtrl
settings=/etc/mtrl/adapter.env
unit=mtrl-adapter.service

fail() {
    echo "install.sh: $*" >&2
    exit 2
}

log_group=
while [ $# -gt 0 ]; do
    case $1 in
        --log-group) log_group=${2:-}; shift 2 || fail "--log-group needs a name" ;;
        *) fail "unknown argument $1; accepted: --log-group NAME" ;;
    esac
done
[[ $log_group =~ ^[A-Za-z0-9_./#-]{1,512}$ ]] || fail "--log-group is missing, or is no log group's name"
[ "$(cd "$(dirname "$0")" && pwd)" = "$home" ] || fail "unpack the bundle in $home, and run it there"
[ "$(id -u)" = 0 ] || fail "run as root"
[ -s "$settings" ] || fail "write the adapter's variables to $settings first"

# An adopted image may have all of it, and no way to a package repository.
packages=()
command -v python3.12 >/dev/null || packages+=(python3.12)
command -v logrotate >/dev/null || packages+=(logrotate)
[ -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl ] || packages+=(amazon-cloudwatch-agent)
[ ${#packages[@]} -eq 0 ] || dnf install --assumeyes --quiet "${packages[@]}"

getent passwd mtrl >/dev/null ||
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /sbin/nologin mtrl

# The worker reads its code and cannot write it; compiled here, because it may not do so later.
chown -R root:root "$home"
chmod -R u=rwX,go=rX "$home"
chown root:root "$settings"
chmod 0600 "$settings"
python3.12 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$home/app" "$home/vendor"

# The agent reads the logs as a user of its own.
install -d -m 0755 -o mtrl -g mtrl /var/log/mtrl
for log in adapter adapter-errors; do
    [ -e "/var/log/mtrl/$log.log" ] || install -m 0644 -o mtrl -g mtrl /dev/null "/var/log/mtrl/$log.log"
done
install -D -m 0644 "$home/logrotate.conf" /etc/logrotate.d/mtrl

# systemd waits a little longer than the worker drains, so that what it kills is what hangs.
drain=$(sed -nE 's/^MTRL_DRAIN_SECONDS="?([0-9]{1,5})(\.[0-9]*)?"?$/\1/p' "$settings" | tail -n 1)
install -D -m 0644 "$home/$unit" "/etc/systemd/system/$unit"
for file in mtrl-drain.service mtrl-health.service mtrl-health.timer; do
    install -D -m 0644 "$home/$file" "/etc/systemd/system/$file"
done
install -d -m 0755 "/etc/systemd/system/$unit.d"
printf '[Service]\nTimeoutStopSec=%s\n' "$((${drain:-105} + 15))" >"/etc/systemd/system/$unit.d/stop.conf"

agent=/opt/aws/amazon-cloudwatch-agent
sed "s|@LOG_GROUP@|$log_group|" "$home/cloudwatch-agent.json" >"$agent/etc/mtrl.json"
"$agent/bin/amazon-cloudwatch-agent-ctl" -a fetch-config -m ec2 -s -c "file:$agent/etc/mtrl.json"

systemctl daemon-reload
systemctl enable --quiet "$unit"
systemctl restart "$unit"
# Without a sign of life there is nothing to look for.
if grep -q '^MTRL_HEALTH_FILE=' "$settings"; then
    systemctl enable --quiet mtrl-health.timer
    systemctl restart mtrl-health.timer
fi
# Not on a machine that no group owns: there is nothing to watch for.
if [ -s /etc/mtrl/drain.env ]; then
    systemctl enable --quiet mtrl-drain.service
    systemctl restart mtrl-drain.service
fi
