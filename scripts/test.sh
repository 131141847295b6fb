#!/usr/bin/env bash
# Lint, types, the tests on SQLite and on PostgreSQL with Redis, and those of the index on a Milvus server; `make test`
# calls it.
# It starts its own PostgreSQL and two Redis on free loopback ports, in a temporary folder, and leaves nothing behind.
#
#   scripts/test.sh [-- options of pytest]
#   SOMA_TEST_PROCESSES        parallel test processes; one more than there are cores unless set, as many wait for servers
#   SOMA_TEST_WITHOUT_MILVUS   1: where the Milvus server cannot be had, do not count that as a failure
#
# Ends with 0 when every stage passed, 1 when one failed, 2 when a server is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ "${1-}" != -- ] || shift
pytest_options=("$@")
python="$PWD/.venv/bin/python"
processes="${SOMA_TEST_PROCESSES:-$(($(nproc) + 1))}"
say() { printf '%s\n' "$@"; }

# The caller's own settings must decide nothing here.
for name in ${!SOMA_@}; do
    [[ $name == SOMA_TEST_* ]] || unset "$name"
done
unset ${!PG@} DJANGO_SETTINGS_MODULE MAKEFLAGS MFLAGS MAKELEVEL
# What pytest makes of the tests and of its plugins, each of its processes would make anew: 7 s.
unset PYTHONDONTWRITEBYTECODE


# --- what is needed ----------------------------------------------------------------------------------

find_postgresql() { # leaves the folder of its programs in $postgresql
    local folder version candidates=()
    if command -v pg_config >/dev/null; then candidates+=("$(pg_config --bindir)"); fi
    while read -r folder; do candidates+=("$folder"); done < <(compgen -G '/usr/lib/postgresql/*/bin' | sort -rV)
    if folder="$(command -v initdb)"; then candidates+=("$(dirname "$folder")"); fi
    for postgresql in ${candidates[@]+"${candidates[@]}"}; do
        [ -x "$postgresql/initdb" ] && [ -x "$postgresql/postgres" ] && [ -x "$postgresql/psql" ] || continue
        version="$("$postgresql/postgres" -V | sed -E 's/[^0-9]*([0-9]+).*/\1/')"
        if [ "$version" -ge 15 ]; then return 0; fi
    done
    return 1
}

missing_packages() {
    find_postgresql || say postgresql
    command -v redis-server >/dev/null || say redis-server
}

# Nice to have: without them the pages are not walked through.
missing_browser() {
    command -v chromium >/dev/null || say chromium
    command -v chromedriver >/dev/null || say chromium-driver
}

need_servers() {
    local packages become_root=()
    mapfile -t packages < <(missing_packages; missing_browser)
    [ ${#packages[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || become_root=(sudo -n)
    if command -v apt-get >/dev/null && ${become_root[@]+"${become_root[@]}"} true 2>/dev/null; then
        say "Installing ${packages[*]} for the tests ..."
        become_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
        { "${become_root[@]}" update && "${become_root[@]}" install -y --no-install-recommends "${packages[@]}"; } \
            >/dev/null || true
    fi
    if [ -n "$(missing_browser)" ]; then notes+=("No browser walks through the pages: there is no Chromium."); fi
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    say "The tests need PostgreSQL 15 or newer and Redis on this machine (installed, not running)." >&2
    say "Missing: ${packages[*]}. On Debian and Ubuntu: apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 2
}

missing_tools() { # what deploy/ is tried with; tests that miss one say so
    local each
    for each in nginx:nginx-light caddy:caddy promtool:prometheus fail2ban-regex:fail2ban; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${each%%:*}" >/dev/null || say "${each#*:}"
    done
}

want_tools() {
    local packages
    mapfile -t packages < <(missing_tools)
    [ ${#packages[@]} -gt 0 ] || return 0
    # Not where installing them would start them: a web server on port 80 is nobody's wish for a test.
    if [ "$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] && command -v apt-get >/dev/null; then
        say "Installing ${packages[*]} for the tests ..."
        export DEBIAN_FRONTEND=noninteractive
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${packages[@]}"; } >/dev/null 2>&1 || true
        mapfile -t packages < <(missing_tools)
    fi
    [ ${#packages[@]} = 0 ] || notes+=("Not checked in deploy/, for want of tools: apt-get install ${packages[*]}")
}


# --- a folder, two servers, and their end ------------------------------------------------------------

folder=''
servers=()
stage_pid=''
stop_with=TERM

stop_group() { # the process group of a job of ours: asked with a signal, given 10 s, then ended
    kill -s "$2" -- "-$1" 2>/dev/null || return 0
    for _ in {1..100}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null || true
}

clean_up() {
    trap '' INT TERM HUP
    trap - EXIT
    if [ -n "$stage_pid" ]; then stop_group "$stage_pid" "$stop_with"; fi
    for pid in ${servers[@]+"${servers[@]}"}; do stop_group "$pid" INT; done
    if [ -n "$folder" ]; then rm -rf "$folder"; fi
}
trap clean_up EXIT
trap 'stop_with=INT; exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# PostgreSQL refuses to run as root, and Redis has no need to.
server_user=()
as_server() { (cd "$folder/servers" && exec ${server_user[@]+"${server_user[@]}"} env HOME="$folder/servers" "$@"); }

make_folder() {
    local parent user=nobody
    for parent in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
        folder="$(mktemp -d "$parent/somamemory-test.XXXXXX")" || continue
        chmod 755 "$folder"
        mkdir -m 700 "$folder/servers"
        [ "$(id -u)" = 0 ] || return 0
        if id postgres >/dev/null 2>&1; then user=postgres; fi
        chown "$user" "$folder/servers"
        server_user=(setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups)
        # A folder above may be closed to that user.
        if as_server test -x "$folder/servers"; then return 0; fi
        rm -rf "$folder"
    done
    say "No temporary folder that the user $user can reach; set TMPDIR to one." >&2
    exit 1
}

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start() { # name, the words in its log that say it is ready, command that ends in a port; leaves $port
    local log="$folder/$1.log" ready="$2"
    shift 2
    for _ in 1 2 3; do # another process may be quicker to take the port
        port="$(free_port)"
        set -m # a process group of its own: Ctrl-C is ours to pass on
        as_server "$@" "$port" >> "$log" 2>&1 < /dev/null &
        servers+=($!)
        set +m
        for _ in {1..600}; do
            if grep -q "$ready" "$log"; then return 0; fi
            kill -0 "${servers[-1]}" 2>/dev/null || continue 2
            sleep 0.1
        done
    done
    cat "$log" >&2
    return 1
}

start_postgresql() {
    local password
    password="$("$python" -c 'import secrets; print(secrets.token_hex(16))')"
    as_server tee password >/dev/null <<< "$password"
    as_server "$postgresql/initdb" -D postgresql -U postgres --auth=password --pwfile=password --no-sync \
        --encoding=UTF8 --locale=C.UTF-8 > "$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; return 1; }
    # fsync off: the data need not outlive a power cut. No Unix socket: its path is limited to 107 bytes.
    start postgresql 'ready to accept connections' "$postgresql/postgres" -D postgresql -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c fsync=off -c full_page_writes=off -c timezone=UTC -p
    # Not a superuser: the tests may do what the service may do, and make their databases.
    PGPASSWORD="$password" "$postgresql/psql" -qX -h 127.0.0.1 -p "$port" -U postgres -d postgres -v ON_ERROR_STOP=1 \
        -c "CREATE ROLE soma LOGIN CREATEDB PASSWORD '$password'" -c 'CREATE DATABASE soma OWNER soma' \
        -c 'GRANT SET ON PARAMETER deadlock_timeout TO soma' # a test decides who is the first to look for one
    database_url="postgres://soma:$password@127.0.0.1:$port/soma"
}

start_redis() {
    start redis 'eady to accept connections' redis-server --bind 127.0.0.1 --save '' --appendonly no --port
    redis_url="redis://127.0.0.1:$port/0"
    start broker 'eady to accept connections' redis-server --bind 127.0.0.1 --save '' --appendonly no \
        --maxmemory-policy noeviction --port
    broker_url="redis://127.0.0.1:$port/0"
}


# --- the stages --------------------------------------------------------------------------------------

summary=()
notes=()
failed=0

stage() { # name, command ...; runs it with its own data folder, and goes on when it fails
    local name="$1" begun=$SECONDS code=0 outcome=passed
    shift
    mkdir -p "$folder/$name/data" "$folder/$name/tmp"
    say "" "==== $name ===="
    set -m
    SOMA_DATA_DIR="$folder/$name/data" TMPDIR="$folder/$name/tmp" "$@" < /dev/null &
    stage_pid=$!
    set +m
    wait "$stage_pid" || code=$?
    stop_group "$stage_pid" TERM # whatever the stage forgot
    stage_pid=''
    if [ "$name:$code:${SOMA_TEST_WITHOUT_MILVUS-}" = milvus:2:1 ]; then
        outcome='NOT RUN'
    elif [ "$code" != 0 ]; then
        outcome="FAILED ($code)" failed=1
    fi
    if [ "$name:$code" = milvus:2 ]; then notes+=("The Milvus server cannot be had on this machine; see above."); fi
    summary+=("$(printf '%-12s %-12s %4d s' "$name" "$outcome" $((SECONDS - begun)))")
    say "==== $name: $outcome, $((SECONDS - begun)) s ===="
}

# worksteal: the tests of a file stay with one process, and what they share is made once.
tests() { "$python" -m pytest -n "$processes" --dist worksteal ${pytest_options[@]+"${pytest_options[@]}"}; }
tests_on_postgresql() {
    SOMA_DATABASE_URL="$database_url" SOMA_REDIS_URL="$redis_url" SOMA_TEST_BROKER_URL="$broker_url" tests
}

tests_on_milvus() { SOMA_TEST_DATABASE_URL="$database_url" scripts/test-milvus.sh; }

if ! [ -x "$python" ]; then
    say "There is no .venv yet: make venv-test" >&2
    exit 2
fi
need_servers
want_tools
find_postgresql
make_folder
say "Starting PostgreSQL ($("$postgresql/postgres" -V | sed 's/.*) //')) and two Redis in $folder ..."
start_postgresql
start_redis

stage lint make --no-print-directory lint
stage types make --no-print-directory types
stage sqlite tests
stage postgresql tests_on_postgresql
# Options choose among the tests of the suite; the server is started for all of its own only.
if [ ${#pytest_options[@]} = 0 ]; then stage milvus tests_on_milvus; fi

say "" "==== summary ===="
printf '%s\n' "${summary[@]}" ${notes[@]+"${notes[@]}"} "$(printf '%-25s %4d s' total "$SECONDS")"
exit "$failed"
