#!/usr/bin/env bash
# Runs testssl.sh against a listener with nothing but certificates, ECDSA and RSA side by side, and fails
# for any finding above LOW. Findings about the certificates, which are made here, are left out.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly pointsman=$PWD/target/debug/pointsman
work=$(mktemp -d)
proxy=
trap '[[ -z $proxy ]] || kill "$proxy"; rm -rf "$work"' EXIT

make_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -subj '/CN=authority' -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
}

# make_pair NAME KIND...
make_pair() {
    local name=$work/$1
    shift
    openssl req -new -newkey "$@" -nodes -subj '/CN=localhost' \
        -keyout "$name.key" -out "$name.csr" 2>/dev/null
    openssl x509 -req -in "$name.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial \
        -days 30 -extfile <(echo 'subjectAltName=DNS:localhost') -out "$name.pem" 2>/dev/null
    chmod 600 "$name.key"
}

make_authority
make_pair ecdsa ec -pkeyopt ec_paramgen_curve:prime256v1
make_pair rsa rsa:2048
cat >"$work/pointsman.toml" <<TOML
admin.listen = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
tls.certificate = [{ cert = "ecdsa.pem", key = "ecdsa.key" }, { cert = "rsa.pem", key = "rsa.key" }]
[[route]]
respond = {}
TOML
"$pointsman" run --config "$work/pointsman.toml" >"$work/log" 2>&1 &
proxy=$!
for _ in $(seq 100); do
    ! grep -q '"message":"serving"' "$work/log" || break
    sleep 0.1
done
port=$(sed -n 's/.*"message":"listening".*"address":"127.0.0.1:\([0-9]*\)".*/\1/p' "$work/log")

testssl --quiet --color 0 --warnings off --ip 127.0.0.1 --add-ca "$work/ca.pem" \
    --jsonfile "$work/findings.json" "https://localhost:$port" || true
python3 - "$work/findings.json" <<'PYTHON'
import json
import sys

findings = json.load(open(sys.argv[1]))
assert len(findings) > 50, "the scan came to its end"
bad = [
    finding
    for finding in findings
    if finding["severity"] in ("MEDIUM", "HIGH", "CRITICAL")
    and not finding["id"].startswith(("cert_", "DNS_CAArecord", "OCSP_", "security_headers", "HSTS"))
]
for finding in bad:
    print(f"{finding['severity']}: {finding['id']}: {finding['finding']}", file=sys.stderr)
print(f"{len(findings)} findings, {len(bad)} above LOW")
sys.exit(bool(bad))
PYTHON
