"""Shared parts of the benchmark scripts: targets, CPU and memory accounting, interleaved rounds, tables."""
import argparse, glob, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, "peers")
CACHE = os.environ.get("PEERS_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "peers")
BIN = os.path.join(CACHE, "bin")
KAFKA = os.path.join(PEERS, "kafka.sh")
TCK = os.sysconf("SC_CLK_TCK")
NCPU = os.cpu_count() or 1


def log(*a):
    print("#", *a, file=sys.stderr, flush=True)


def tool(name):
    p = os.path.join(BIN, name)
    if not os.access(p, os.X_OK):
        sys.exit("bench: %s is missing; build it: peers/tools.sh install %s" % (p, name.split("_")[0]))
    return p


# ------------------------------------------------------------------ processes

def pids_of_port(port, host="127.0.0.1"):
    """pids which listen on the TCP port at this IPv4 address or at all of them (v4 or v6), through /proc"""
    v4 = socket.inet_aton(socket.gethostbyname(host))[::-1].hex().upper()
    at = {v4, "0" * 8, "0" * 32, "0" * 16 + "FFFF0000" + v4}
    inodes = set()
    for f in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(f) as fh:
                next(fh)
                for l in fh:
                    p = l.split()
                    address, local = p[1].rsplit(":", 1)
                    if p[3] == "0A" and int(local, 16) == port and address in at:
                        inodes.add("socket:[%s]" % p[9])
        except OSError:
            pass
    out = set()
    for fd in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(fd) in inodes:
                out.add(int(fd.split("/")[2]))
        except OSError:
            pass
    return sorted(out)


def cpu_of(pid):
    """user+system CPU seconds of a live process"""
    try:
        with open("/proc/%d/stat" % pid) as f:
            s = f.read().rsplit(")", 1)[1].split()
        return (int(s[11]) + int(s[12])) / TCK
    except (OSError, IndexError):
        return 0.0


def mem_of(pid):
    """(RSS, peak RSS, private+proportional PSS) in MiB"""
    rss = hwm = pss = 0
    try:
        with open("/proc/%d/status" % pid) as f:
            for l in f:
                if l.startswith("VmRSS"):
                    rss = int(l.split()[1])
                elif l.startswith("VmHWM"):
                    hwm = int(l.split()[1])
        with open("/proc/%d/smaps_rollup" % pid) as f:
            for l in f:
                if l.startswith("Pss:"):
                    pss = int(l.split()[1])
    except OSError:
        pass
    return round(rss / 1024, 1), round(hwm / 1024, 1), round(pss / 1024, 1)


def io_of(pid):
    try:
        with open("/proc/%d/io" % pid) as f:
            return {l.split(":")[0]: int(l.split(":")[1]) for l in f}
    except OSError:
        return {}


def machine_cpu():
    """(busy seconds, steal seconds) of the whole machine"""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:]]
    user, nice, system, _idle, _iow, irq, soft, steal = v[:8]
    return (user + nice + system + irq + soft) / TCK, steal / TCK


def wait_quiet(limit, timeout, own=()):
    """waits until others use less than `limit` of the machine over 1 s, at most `timeout` s"""
    end = time.monotonic() + timeout
    while True:
        b0, _ = machine_cpu()
        o0 = sum(cpu_of(p) for p in own)
        t0 = time.monotonic()
        time.sleep(1.0)
        b1, _ = machine_cpu()
        f = (b1 - b0 - (sum(cpu_of(p) for p in own) - o0)) / ((time.monotonic() - t0) * NCPU)
        if f <= limit:
            return max(f, 0.0)
        if time.monotonic() >= end:
            return f


class Run:
    """result of one finished client command"""


def run(cmd, timeout=120, cpus=None, env=None, cwd=None):
    if cpus:
        cmd = ["taskset", "-c", cpus] + list(cmd)
    e = dict(os.environ)
    e.update(env or {})
    with tempfile.TemporaryFile() as fo, tempfile.TemporaryFile() as fe:
        t0 = time.monotonic()
        p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=fo, stderr=fe, env=e, cwd=cwd, start_new_session=True)
        timed = [False]

        def kill():
            timed[0] = True
            try:
                os.killpg(p.pid, signal.SIGKILL)  # our own child's own session
            except OSError:
                pass
        tm = threading.Timer(timeout, kill)
        tm.start()
        _, st, ru = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(st)
        wall = time.monotonic() - t0
        tm.cancel()
        r = Run()
        fo.seek(0)
        fe.seek(0)
        r.out, r.err = fo.read().decode(errors="replace"), fe.read().decode(errors="replace")
    r.rc, r.wall, r.cpu, r.rss = p.returncode, wall, ru.ru_utime + ru.ru_stime, ru.ru_maxrss / 1024
    if timed[0]:
        raise RuntimeError("timed out after %g s: %s" % (timeout, " ".join(cmd)[:200]))
    if r.rc != 0:
        raise RuntimeError("exit %d: %s\n%s" % (r.rc, " ".join(cmd)[:200], (r.err or r.out)[-800:]))
    return r


# ------------------------------------------------------------------ targets and rounds

class Target:
    def __init__(self, spec):
        name, _, rest = spec.rpartition("=")
        addr, _, pids = rest.partition("@")
        self.name, self.bootstrap = name or addr, addr
        self.given = [int(x) for x in re.split(r"[+,]", pids)] if pids else None

    @property
    def pids(self):
        if self.given:
            return self.given
        out = []
        for a in self.bootstrap.split(","):
            host, port = a.rsplit(":", 1)
            out += pids_of_port(int(port), host)
        return sorted(set(out))


def common_args(p, rounds=5):
    p.add_argument("--target", action="append", required=True, metavar="NAME=HOST:PORT[@PID+PID]",
                   help="a broker under test; give it several times: rounds are interleaved (A B, B A, A B ...)")
    p.add_argument("--rounds", type=int, default=rounds)
    p.add_argument("--warmup-rounds", type=int, default=1, help="extra first rounds that do not count")
    p.add_argument("--client-cpus", default=os.environ.get("PEERS_CLIENT_CPUS"), help="taskset list for the client, e.g. 0")
    p.add_argument("--max-foreign", type=float, default=0.10, help="machine share used by others above which a run counts as noisy")
    p.add_argument("--wait-quiet", type=float, default=20, help="seconds to wait for a quiet machine before each run")
    p.add_argument("--timeout", type=float, default=180, help="bound for one client run, s")
    p.add_argument("--out", help="append one JSON line a run to this file")


class Measure:
    """accounts one run: wall, client CPU, broker CPU, CPU used by others"""

    def __init__(self, target, args):
        self.t, self.a = target, args

    def __enter__(self):
        self.pids = self.t.pids
        if self.a.wait_quiet > 0:
            wait_quiet(self.a.max_foreign, self.a.wait_quiet, self.pids)
        self.b0, self.s0 = machine_cpu()
        self.c0 = {p: cpu_of(p) for p in self.pids}
        self.io0 = {p: io_of(p) for p in self.pids}
        self.t0 = time.monotonic()
        return self

    def __exit__(self, *x):
        if x[0] is None:
            self.end()
        return False

    def end(self, client_cpu=None):
        if getattr(self, "done", None):
            if client_cpu is not None:
                self.done["client_cpu_s"] = round(client_cpu, 3)
            return self.done
        w = time.monotonic() - self.t0
        b1, s1 = machine_cpu()
        bro = sum(cpu_of(p) - self.c0[p] for p in self.pids)
        wr = sum(io_of(p).get("write_bytes", 0) - self.io0[p].get("write_bytes", 0) for p in self.pids)
        self.done = {"run_wall_s": round(w, 3), "broker_cpu_s": round(bro, 3), "busy_s": round(b1 - self.b0, 3),
                     "steal": round((s1 - self.s0) / (w * NCPU), 4), "broker_write_mb": round(wr / 1e6, 1)}
        return self.done


def finish(m, client_cpu):
    d = m.end()
    d["client_cpu_s"] = round(client_cpu, 3)
    d["foreign"] = round(max(0.0, d.pop("busy_s") - d["broker_cpu_s"] - client_cpu) / (d["run_wall_s"] * NCPU), 4)
    return d


def interleave(targets, rounds, warmup, fn):
    """fn(target, round) -> None; round < 0 is warm-up. Order alternates so that drift hits every target alike."""
    for r in range(-warmup, rounds):
        order = targets if r % 2 == 0 else list(reversed(targets))
        for t in order:
            fn(t, r)


class Results:
    def __init__(self, args, bench):
        self.rows, self.bench, self.args = [], bench, args
        self.fh = open(args.out, "a") if getattr(args, "out", None) else None

    def add(self, case, target, rnd, **kv):
        row = {"bench": self.bench, "case": case, "target": target.name if hasattr(target, "name") else target,
               "round": rnd, "time": int(time.time()), **kv}
        if rnd >= 0:
            self.rows.append(row)
            if self.fh:
                self.fh.write(json.dumps(row) + "\n")
                self.fh.flush()
        s = "  ".join("%s=%s" % (k, v) for k, v in kv.items() if isinstance(v, (int, float)) and not isinstance(v, bool))
        log("%s %s %s: %s" % ("warm-up" if rnd < 0 else "round %d" % rnd, row["target"], case, s[:230]))

    def summary(self, metrics, file=sys.stdout):
        """median (min-max) over quiet runs; falls back to all runs, marked *, where fewer than 3 were quiet"""
        lim = getattr(self.args, "max_foreign", 1.0)
        cases, names = [], []
        for r in self.rows:
            if r["case"] not in cases:
                cases.append(r["case"])
            if r["target"] not in names:
                names.append(r["target"])
        print("| case | target | runs (quiet) | " + " | ".join(metrics) + " |", file=file)
        print("|" + "---|" * (3 + len(metrics)), file=file)
        for c in cases:
            base = {}
            for n in names:
                allr = [r for r in self.rows if r["case"] == c and r["target"] == n]
                if not allr:
                    continue
                q = [r for r in allr if r.get("foreign", 0) <= lim]
                use, mark = (q, "") if len(q) >= 3 or len(q) == len(allr) else (allr, "*")
                cells = []
                for m in metrics:
                    v = [r[m] for r in use if r.get(m) is not None]
                    if not v:
                        cells.append("-")
                        continue
                    md = statistics.median(v)
                    ratio = ""
                    if n == names[0]:
                        base[m] = {r["round"]: r[m] for r in use if r.get(m)}
                    elif base.get(m):
                        pr = [r[m] / base[m][r["round"]] for r in use if r.get(m) is not None and r["round"] in base[m]]
                        if pr:
                            ratio = " x%.2f" % statistics.median(pr)
                    cells.append("%s (%s-%s)%s" % (fmt(md), fmt(min(v)), fmt(max(v)), ratio))
                print("| %s | %s | %d (%d)%s | %s |" % (c, n, len(allr), len(q), mark, " | ".join(cells)), file=file)
        if any(r.get("foreign", 0) > lim for r in self.rows):
            print("\n(* = fewer than 3 runs with others using <= %d %% of the machine: all runs are in the figures)" % (lim * 100), file=file)
        if len(names) > 1:
            print("(xN = median over the rounds of this target's figure / that of %s in the same round)" % names[0], file=file)


def fmt(v):
    a = abs(v)
    if a >= 1e6:
        return "%.2fM" % (v / 1e6)
    if a >= 1e4:
        return "%.0fk" % (v / 1e3) if a >= 1e5 else "%.1fk" % (v / 1e3)
    if a >= 100:
        return "%.0f" % v
    if a >= 10:
        return "%.1f" % v
    return "%.3g" % v


def uniq(prefix):
    uniq.n += 1
    return "%s-%d-%d" % (prefix, os.getpid(), uniq.n)


uniq.n = 0
