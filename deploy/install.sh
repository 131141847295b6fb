#!/usr/bin/env bash
# Install SomaMemory as systemd services on this machine, or update an existing installation. It is safe to run again.
#
#   deploy/install.sh [--dry-run] [--port N] [--no-start] [--finish]
#   deploy/install.sh --uninstall [--purge] [--dry-run]
#
#   --dry-run    print what would be done, without doing it
#   --port N     local port for a new installation (default: 9595)
#   --no-start   install everything, but do not start or restart the services
#   --finish     finish the upgrade: remove everything that only the previous version used. Use this option on the last
#                server that you upgrade. With SQLite, which allows only one server, the upgrade is finished automatically.
#   --uninstall  remove the services and the program, but keep data, settings and user
#   --purge      with --uninstall, also remove data, settings and user
#   --root DIR   install everything under DIR and start nothing; for images and tests
#   --venv DIR   use this Python environment instead of creating one; for images and tests
#
# The program is in /opt/somamemory. To run a manage.py command, use /usr/local/sbin/somamemory COMMAND. The
# settings are in /etc/somamemory/environment (mode 600), which is created once and never changed by later runs. The data
# is in /var/lib/somamemory. For the next steps, see docs/operations/systemd.md.
set -euo pipefail
umask 022  # the services' user must be able to read the program

source="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
dry='' port=9595 start=1 finish='' uninstall='' purge='' root='' venv=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=1 ;;
        --port) port="${2:?--port needs a number}"; shift ;;
        --no-start) start='' ;;
        --finish) finish=1 ;;
        --uninstall) uninstall=1 ;;
        --purge) purge=1 ;;
        --root) root="${2:?--root needs a folder}"; start=''; shift ;;
        --venv) venv="${2:?--venv needs a folder}"; shift ;;
        -h|--help) sed -nE '2,/^set/{s/^# ?//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) echo "error: unknown option '$1'; see --help" >&2; exit 2 ;;
    esac
    shift
done
[[ $port =~ ^[1-9][0-9]{0,4}$ ]] && [ "$port" -ge 1 ] && [ "$port" -le 65535 ] || {
    echo "error: --port must be a number from 1 to 65535, not '$port'" >&2; exit 2; }
[ -z "$purge" ] || [ -n "$uninstall" ] || { echo "error: --purge requires --uninstall" >&2; exit 2; }

program="$root/opt/somamemory" settings="$root/etc/somamemory" data="$root/var/lib/somamemory"
units="$root/etc/systemd/system" commands="$root/usr/local/sbin" account=somamemory

say() { printf '%s\n' "$*"; }
run() { # runs a command that changes something or, with --dry-run, only prints it
    if [ -n "$dry" ]; then say "would run: $*"; else "$@"; fi
}
systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
# The files to install: those that the Dockerfile copies into the image, and the documentation.
PARTS="$(sed -nE 's/^COPY ([a-z_]+) .*/\1/p' "$source/Dockerfile" | grep -v '^requirements$') manage.py deploy docs requirements LICENSE"

need_root() {
    [ -n "$root" ] || [ -n "$dry" ] || [ "$(id -u)" = 0 ] || {
        echo "error: root is required (sudo $0)" >&2; exit 1; }
}

find_python() { # prefers the system's Python; the services cannot access one in a home folder
    local PATH="/usr/local/bin:/usr/bin:/bin:$PATH"
    for python in python3.13 python3.12 python3.11 python3; do
        if "$python" -c "$PYTHON_IS_FIT" 2>/dev/null; then
            python="$(command -v "$python")"
            return 0
        fi
    done
    echo "error: Python 3.11 or newer with venv is required outside of home folders: apt-get install python3 python3-venv" >&2
    exit 1
}
PYTHON_IS_FIT='
import ensurepip, os, sys, venv
at_home = os.path.realpath(sys.base_prefix).startswith(("/home/", "/root/", "/run/user/"))
sys.exit(at_home or sys.version_info < (3, 11))
'

make_account() {
    [ -z "$root" ] || return 0
    if id "$account" >/dev/null 2>&1; then return 0; fi
    run useradd --system --user-group --no-create-home --home-dir "$data" --shell /usr/sbin/nologin "$account"
}

copy_program() { # copies the program to a new folder, then replaces the old folder, so that a partial copy is never run
    local new="$program.new"
    run rm -rf "$new"
    run mkdir -p "$new"
    for part in $PARTS; do
        [ ! -e "$source/$part" ] || run cp -a --no-preserve=ownership "$source/$part" "$new/"
    done
    # The owner and the group of the checkout must not be able to change the program.
    run chmod -R u=rwX,go=rX "$new"
    [ -n "$dry" ] || find "$new" -name __pycache__ -type d -prune -exec rm -rf {} +
    if [ -n "$venv" ]; then
        run ln -s "$venv" "$new/.venv"
    elif [ -e "$program/.venv" ]; then
        # An environment that was created with another umask may be unreadable for the services' user.
        [ -L "$program/.venv" ] || run chmod -R u=rwX,go=rX "$program/.venv"
        run mv "$program/.venv" "$new/.venv"  # works because its programs are run with `python -m`
    fi
    if [ -e "$program" ]; then
        run rm -rf "$program.old"
        run mv "$program" "$program.old"
    fi
    run mv "$new" "$program"
    run rm -rf "$program.old"
}

make_environment() {
    [ -z "$venv" ] || return 0
    find_python
    "$program/.venv/bin/python" -c "$PYTHON_IS_FIT" 2>/dev/null || run "$python" -m venv --clear "$program/.venv"
    local wanted sets=(base.txt)
    if grep -qs '^SOMA_MILVUS_URI=' "$settings/environment"; then sets+=(milvus.txt); fi
    wanted="$(cd "$source/requirements" && cat "${sets[@]}" | cksum)"
    [ "$wanted" != "$(cat "$program/.venv/base.installed" 2>/dev/null)" ] || return 0
    say "Installing the Python packages (a minute or two the first time) ..."
    run "$program/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
        "${sets[@]/#/--requirement=$program/requirements/}"
    [ -n "$dry" ] || echo "$wanted" > "$program/.venv/base.installed"
}

make_settings() {
    run mkdir -p "$settings" "$data"
    run chmod 700 "$data"
    [ -n "$root" ] || run chown "$account:$account" "$data"
    if [ -e "$settings/environment" ]; then
        say "Keeping $settings/environment."
        return 0
    fi
    if [ -n "$dry" ]; then
        say "would write: $settings/environment (mode 600) with a new SOMA_SECRET_KEY"
        return 0
    fi
    (
        umask 077
        cat > "$settings/environment" <<END
# Settings of SomaMemory; see docs/reference/configuration.md. Restart after a change: systemctl restart 'somamemory*'
SOMA_SECRET_KEY=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
SOMA_HOST=127.0.0.1
SOMA_PORT=$port
# The settings above are enough for one machine. For several processes, also set the following (worker and beat are started
# only if SOMA_BROKER_URL is set):
#SOMA_DATABASE_URL=postgres://soma:PASSWORD@127.0.0.1:5432/soma
#SOMA_REDIS_URL=redis://127.0.0.1:6379/0
#SOMA_BROKER_URL=redis://127.0.0.1:6380/0
#SOMA_MILVUS_URI=http://127.0.0.1:19530
#SOMA_WORKERS=2
END
    )
}

the_port() { [ ! -e "$settings/environment" ] || sed -nE "s/^SOMA_PORT=[\"']?([0-9]+)[\"']?\$/\1/p" "$settings/environment" | tail -n 1; }
has_other_servers() { grep -Eq '^SOMA_DATABASE_URL=.?(postgres|pgsql)' "$settings/environment" 2>/dev/null; }
has_broker() { grep -q '^SOMA_BROKER_URL=.' "$settings/environment" 2>/dev/null; }

install_units() {
    run mkdir -p "$units"
    local port_now
    port_now="$(the_port)"
    for unit in "$source"/deploy/systemd/somamemory*; do
        if [ -n "$dry" ]; then
            say "would write: $units/$(basename "$unit")"
        else
            sed "s/127\.0\.0\.1:9595/127.0.0.1:${port_now:-$port}/" "$unit" > "$units/$(basename "$unit")"
            chmod 644 "$units/$(basename "$unit")"
        fi
    done
}

install_command() {
    run mkdir -p "$commands"
    run install -m 755 "$source/deploy/somamemory" "$commands/somamemory"
}

start_services() {
    local wanted=(somamemory.socket somamemory.service somamemory-backup.timer)
    if has_broker; then wanted+=(somamemory-worker.service somamemory-beat.service); fi
    if [ -z "$start" ] || { [ -z "$dry" ] && ! systemd_runs; }; then
        say "The services were not started. To start them: systemctl daemon-reload; systemctl enable --now ${wanted[*]}"
        return 0
    fi
    run systemctl daemon-reload
    run systemctl start somamemory-migrate.service  # before the new version starts; the old version also works with the new schema
    run systemctl enable --quiet "${wanted[@]}"
    run systemctl start somamemory.socket  # keeps the port open, so that new connections wait
    run systemctl restart "${wanted[@]:1}"
    if [ -n "$finish" ] || ! has_other_servers; then
        run "$commands/somamemory" finish_upgrade
    else
        say "When every server runs this version, run: somamemory finish_upgrade (or use --finish on the last server)."
    fi
    [ -n "$dry" ] || say "SomaMemory is running on http://127.0.0.1:$(the_port). The first key is in $data/first-key."
}

remove() {
    if systemd_runs || [ -n "$dry" ]; then
        run systemctl disable --quiet --now somamemory.service somamemory.socket somamemory-worker.service \
            somamemory-beat.service somamemory-backup.timer || true
    fi
    for unit in "$units"/somamemory*; do
        [ ! -e "$unit" ] || run rm -f "$unit"
    done
    if systemd_runs; then run systemctl daemon-reload; fi
    run rm -rf "$program" "$commands/somamemory"
    if [ -z "$purge" ]; then
        say "Kept: $data, $settings and the user $account. Use --purge to remove them."
        return 0
    fi
    run rm -rf "$data" "$settings"
    if [ -z "$root" ] && id "$account" >/dev/null 2>&1; then run userdel "$account"; fi
}

need_root
if [ -n "$uninstall" ]; then
    remove
    exit 0
fi
make_account
copy_program
make_environment
make_settings
install_units
install_command
start_services
