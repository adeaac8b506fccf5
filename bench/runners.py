"""What the benchmarks of connectors have in common: the processes that they run, and how these are told what to do."""
from benchlib import *
import contextlib, kproto

PG = os.path.join(PEERS, "pg.sh")


class Child:
    """A runner as a process: started in the folder `d`, where it logs."""

    def __init__(self, cmd, d, a):
        self.log = os.path.join(d, "log")
        if a.client_cpus:
            cmd = ["taskset", "-c", a.client_cpus] + cmd
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, cwd=d)
        self.pid = self.process.pid

    def said(self):
        with open(self.log, errors="replace") as fh:
            return fh.read()[-800:]

    def has_ended(self):
        return self.process.poll() is not None

    def check(self, since, timeout, progress):
        """raises when it ended, or is at it for too long"""
        if self.has_ended():
            raise RuntimeError("the runner ended (%s) with %s: %s" % (self.process.returncode, progress, self.said()))
        if time.monotonic() - since > timeout:
            raise RuntimeError("not finished after %g s: %s\n%s" % (timeout, progress, self.said()))

    def stop(self):
        stop(self.process)


def stop(process):
    """ends a process, by force if it takes longer than 30 s"""
    if process and process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def folder(base):
    """an empty folder for one run"""
    d = os.path.join(base, "w")
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    return d


def drop_topic(t, topic):
    try:
        kproto.delete_topic(t.bootstrap, topic)
    except Exception as e:
        log("could not delete %s: %s" % (topic, e))


def connect_standalone(t, d, rest, settings, *connectors, plugin_path=None):
    """Kafka Connect's standalone worker with settings of the worker and those of each connector"""
    worker = subprocess.run([KAFKA, "worker-config", "standalone", "--bootstrap", t.bootstrap, "--rest-port", str(rest), "--dir", d] + settings,
                            check=True, capture_output=True, text=True).stdout
    if plugin_path:
        worker = re.sub(r"(?m)^plugin.path=.*$", "plugin.path=" + plugin_path, worker)
    paths = [os.path.join(d, "worker.properties")] + [os.path.join(d, "connector-%d.properties" % nth) for nth in range(len(connectors))]
    with open(paths[0], "w") as fh:
        fh.write(worker)
    for path, connector in zip(paths[1:], connectors):
        with open(path, "w") as fh:
            fh.write("".join("%s=%s\n" % pair for pair in connector.items()))
    return [KAFKA, "connect-standalone"] + paths


def bento(d, text):
    path = os.path.join(d, "bento.yaml")
    with open(path, "w") as fh:
        fh.write(text)
    return [tool("bento"), "-c", path]


def millrace(binary, t, d, text, *flags):
    path = os.path.join(d, "pipeline.yaml")
    with open(path, "w") as fh:
        fh.write("version: 1\n" + text)
    return [binary, "connect", "--bootstrap", t.bootstrap, *flags, path]


def fill(binary, t, base, topic, lines):
    """brings the lines of a file into a topic"""
    run(millrace(binary, t, base, "pipelines:\n  fill-%s:\n    topic: { name: %s, partitions: 1 }\n    source: { connector: file-source, path: '%s', format: lines }\n"
                 % (topic, topic, lines), "--exit-when-done"), 200)


def psql(port, sql, timeout=300):
    return subprocess.run([PG, "psql", "--port", str(port), "-v", "ON_ERROR_STOP=1", "-Atq"], input=sql, text=True, check=True, capture_output=True, timeout=timeout).stdout


@contextlib.contextmanager
def postgres(port):
    """a throw-away server"""
    started = subprocess.run([PG, "start", "--port", str(port)], capture_output=True, text=True)
    if started.returncode:
        sys.exit(started.stderr)
    log(started.stdout.strip().replace("\n", " "))
    try:
        yield
    finally:
        subprocess.run([PG, "stop", "--port", str(port)])


def rounds(a, targets, runners, once, cases=("",)):
    """Every round each case with each runner at each target, in an order that turns around; what fails is told."""
    for rnd in range(-a.warmup_rounds, a.rounds):
        for case in cases:
            for name in runners:
                for t in targets if rnd % 2 == 0 else reversed(targets):
                    try:
                        once(case, name, t, rnd)
                    except Exception as e:
                        log("FAILED %s %s %s: %s" % (t.name, case, name, str(e)[-900:]))
