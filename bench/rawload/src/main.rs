//! rawload: a Kafka-protocol load client with no dependencies and almost no CPU cost of its own.
//!
//! produce: one record batch is encoded once and sent again and again (valid CRC; the base offset is
//!          outside the CRC), pipelined, so the client only does write(2) and reads small answers. A connection
//!          writes to one partition, with --rotate 1 to all in turn (all have to be on the bootstrap's broker).
//! fetch:   reads a topic from the start and drops the bytes; counts records from the batch headers.
//! e2e:     open loop at a fixed rate: produce on one connection, long-poll fetch on another; latencies
//!          are measured from the *intended* send time (no coordinated omission).
//!
//! It is all in one file because it is a program of its own, outside the workspace, read from top to bottom.
//!
//! Every mode is bounded in count (--records) and in time (--max-seconds) and prints one JSON line.
//! Wire versions: ApiVersions 0, Metadata 4, Produce 3..8, Fetch 4..11 (all non-flexible), so any broker
//! which serves librdkafka or the Java client serves this one.

use std::collections::HashMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

type Res<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

// ---------------------------------------------------------------- small helpers

fn err<T>(m: impl Into<String>) -> Res<T> {
    Err(m.into().into())
}

struct Args(HashMap<String, String>);
impl Args {
    fn parse(it: impl Iterator<Item = String>) -> Res<(String, Args)> {
        let mut it = it.peekable();
        let mode = it.next().unwrap_or_default();
        let mut m = HashMap::new();
        while let Some(k) = it.next() {
            let Some(k) = k.strip_prefix("--") else { return err(format!("unexpected argument {k}")) };
            let v = match it.peek() {
                Some(v) if !v.starts_with("--") => it.next().unwrap(),
                _ => "1".to_string(),
            };
            m.insert(k.to_string(), v);
        }
        Ok((mode, Args(m)))
    }
    fn s(&self, k: &str, d: &str) -> String {
        self.0.get(k).cloned().unwrap_or_else(|| d.to_string())
    }
    fn n<T: std::str::FromStr>(&self, k: &str, d: T) -> Res<T> {
        match self.0.get(k) {
            None => Ok(d),
            Some(v) => v.parse().map_err(|_| format!("--{k}: not a number: {v}").into()),
        }
    }
}

/// user+system CPU seconds of this process, from /proc/self/stat
fn cpu_s() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let f: Vec<&str> = s.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let g = |i: usize| f.get(i).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0);
    (g(11) + g(12)) / 100.0
}

/// log-linear histogram of microseconds: 64 sub-buckets a power of two, error < 1.6 %
struct Hist {
    b: Vec<u64>,
    n: u64,
    max: u64,
    sum: u128,
}
impl Hist {
    fn new() -> Self {
        Hist { b: vec![0; 64 * 64], n: 0, max: 0, sum: 0 }
    }
    fn idx(v: u64) -> usize {
        if v < 128 {
            return v as usize;
        }
        let e = 63 - v.leading_zeros() as usize; // >= 7
        (e - 5) * 64 + ((v >> (e - 6)) as usize & 63)
    }
    fn val(i: usize) -> u64 {
        if i < 128 {
            return i as u64;
        }
        let e = i / 64 + 5;
        ((64 + (i % 64) as u64) << (e - 6)) + (1u64 << (e - 6)) / 2
    }
    fn add(&mut self, us: u64) {
        let i = Self::idx(us).min(self.b.len() - 1);
        self.b[i] += 1;
        self.n += 1;
        self.sum += us as u128;
        self.max = self.max.max(us);
    }
    fn merge(&mut self, o: &Hist) {
        for (a, b) in self.b.iter_mut().zip(&o.b) {
            *a += b;
        }
        self.n += o.n;
        self.sum += o.sum;
        self.max = self.max.max(o.max);
    }
    fn q(&self, q: f64) -> f64 {
        let want = ((self.n as f64) * q).ceil().max(1.0) as u64;
        let mut c = 0;
        for (i, v) in self.b.iter().enumerate() {
            c += v;
            if c >= want {
                return Self::val(i).min(self.max) as f64 / 1000.0;
            }
        }
        self.max as f64 / 1000.0
    }
    fn json(&self, p: &str) -> String {
        let mean = if self.n > 0 { self.sum as f64 / self.n as f64 / 1000.0 } else { 0.0 };
        format!(
            "\"{p}_p50_ms\":{:.3},\"{p}_p90_ms\":{:.3},\"{p}_p99_ms\":{:.3},\"{p}_p999_ms\":{:.3},\"{p}_max_ms\":{:.3},\"{p}_mean_ms\":{:.3},\"{p}_n\":{}",
            self.q(0.5), self.q(0.9), self.q(0.99), self.q(0.999), self.max as f64 / 1000.0, mean, self.n
        )
    }
}

fn crc32c(data: &[u8]) -> u32 {
    let mut t = [0u32; 256];
    for i in 0..256u32 {
        let mut c = i;
        for _ in 0..8 {
            c = if c & 1 == 1 { (c >> 1) ^ 0x82f6_3b78 } else { c >> 1 };
        }
        t[i as usize] = c;
    }
    let mut c = !0u32;
    for &b in data {
        c = t[((c ^ b as u32) & 0xff) as usize] ^ (c >> 8);
    }
    !c
}

fn varint(out: &mut Vec<u8>, v: i64) {
    let mut z = ((v << 1) ^ (v >> 63)) as u64;
    while z >= 0x80 {
        out.push(z as u8 | 0x80);
        z >>= 7;
    }
    out.push(z as u8);
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_millis() as i64).unwrap_or(0)
}

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// one v2 record batch of `n` records with values of `size` bytes (random capital letters, as the Java tool)
fn batch(n: usize, size: usize, rng: &mut Rng, value: Option<&[u8]>) -> Vec<u8> {
    let ts = now_ms();
    let mut recs = Vec::with_capacity(n * (size + 16));
    let mut body = Vec::with_capacity(size + 16);
    for i in 0..n {
        body.clear();
        body.push(0); // attributes
        varint(&mut body, 0); // timestamp delta
        varint(&mut body, i as i64); // offset delta
        varint(&mut body, -1); // null key
        varint(&mut body, size as i64);
        match value {
            Some(v) => body.extend_from_slice(v),
            None => {
                let mut k = 0;
                while k < size {
                    let mut r = rng.next();
                    for _ in 0..8.min(size - k) {
                        body.push(b'A' + ((r & 0xff) as u8) % 26);
                        r >>= 8;
                        k += 1;
                    }
                }
            }
        }
        varint(&mut body, 0); // headers
        varint(&mut recs, body.len() as i64);
        recs.extend_from_slice(&body);
    }
    let mut c = Vec::with_capacity(recs.len() + 64); // from attributes on: covered by the CRC
    c.extend_from_slice(&0i16.to_be_bytes());
    c.extend_from_slice(&(n as i32 - 1).to_be_bytes());
    c.extend_from_slice(&ts.to_be_bytes());
    c.extend_from_slice(&ts.to_be_bytes());
    c.extend_from_slice(&(-1i64).to_be_bytes());
    c.extend_from_slice(&(-1i16).to_be_bytes());
    c.extend_from_slice(&(-1i32).to_be_bytes());
    c.extend_from_slice(&(n as i32).to_be_bytes());
    c.extend_from_slice(&recs);
    let mut b = Vec::with_capacity(c.len() + 21);
    b.extend_from_slice(&0i64.to_be_bytes());
    b.extend_from_slice(&(c.len() as i32 + 9).to_be_bytes());
    b.extend_from_slice(&(-1i32).to_be_bytes());
    b.push(2);
    b.extend_from_slice(&crc32c(&c).to_be_bytes());
    b.extend_from_slice(&c);
    b
}

// ---------------------------------------------------------------- protocol

fn put_str(b: &mut Vec<u8>, s: &str) {
    b.extend_from_slice(&(s.len() as i16).to_be_bytes());
    b.extend_from_slice(s.as_bytes());
}

fn header(key: i16, ver: i16, corr: i32) -> Vec<u8> {
    let mut b = Vec::with_capacity(64);
    b.extend_from_slice(&key.to_be_bytes());
    b.extend_from_slice(&ver.to_be_bytes());
    b.extend_from_slice(&corr.to_be_bytes());
    put_str(&mut b, "rawload");
    b
}

fn send(s: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let l = (body.len() as i32).to_be_bytes();
    write2(s, &l, body)
}

fn write2(s: &mut TcpStream, a: &[u8], b: &[u8]) -> io::Result<()> {
    let mut done = 0;
    let total = a.len() + b.len();
    while done < total {
        let n = if done < a.len() {
            s.write_vectored(&[IoSlice::new(&a[done..]), IoSlice::new(b)])?
        } else {
            s.write(&b[done - a.len()..])?
        };
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        done += n;
    }
    Ok(())
}

fn recv(s: &mut TcpStream, buf: &mut Vec<u8>) -> io::Result<()> {
    let mut l = [0u8; 4];
    s.read_exact(&mut l)?;
    let n = i32::from_be_bytes(l);
    if !(4..=512 << 20).contains(&n) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {n} bytes")));
    }
    buf.resize(n as usize, 0);
    s.read_exact(buf)
}

struct Rd<'a>(&'a [u8]);
impl<'a> Rd<'a> {
    fn take(&mut self, n: usize) -> Res<&'a [u8]> {
        if self.0.len() < n {
            return err("short answer");
        }
        let (a, b) = self.0.split_at(n);
        self.0 = b;
        Ok(a)
    }
    fn i16(&mut self) -> Res<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into().unwrap()))
    }
    fn i32(&mut self) -> Res<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().unwrap()))
    }
    fn i64(&mut self) -> Res<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into().unwrap()))
    }
    fn str(&mut self) -> Res<String> {
        let n = self.i16()?;
        if n < 0 {
            return Ok(String::new());
        }
        Ok(String::from_utf8_lossy(self.take(n as usize)?).into_owned())
    }
}

fn connect(addr: SocketAddr, timeout: Duration) -> Res<TcpStream> {
    let s = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
    s.set_nodelay(true)?;
    s.set_read_timeout(Some(timeout))?;
    s.set_write_timeout(Some(timeout))?;
    Ok(s)
}

struct Cluster {
    produce_ver: i16,
    fetch_ver: i16,
    leaders: Vec<SocketAddr>, // by partition
}

fn discover(bootstrap: &str, topic: &str) -> Res<Cluster> {
    let addr = match bootstrap.split(',').next().unwrap_or("").to_socket_addrs()?.next() {
        Some(a) => a,
        None => return err("bad bootstrap address"),
    };
    let mut s = connect(addr, Duration::from_secs(10))?;
    let mut buf = Vec::new();
    send(&mut s, &header(18, 0, 1))?;
    recv(&mut s, &mut buf)?;
    let mut r = Rd(&buf[4..]);
    if r.i16()? != 0 {
        return err("ApiVersions refused");
    }
    let mut v = HashMap::new();
    for _ in 0..r.i32()? {
        let (k, lo, hi) = (r.i16()?, r.i16()?, r.i16()?);
        v.insert(k, (lo, hi));
    }
    let pick = |k: i16, lo: i16, hi: i16| -> Res<i16> {
        match v.get(&k) {
            Some((l, h)) if *l <= hi && *h >= lo => Ok(hi.min(*h)),
            x => err(format!("broker serves api {k} in {x:?}, this client needs {lo}..{hi}")),
        }
    };
    let (pv, fv) = (pick(0, 3, 8)?, pick(1, 4, 11)?);
    // the topic may just have been created: up to 50 tries
    for i in 0..50 {
        let mut q = header(3, 4, 2 + i);
        q.extend_from_slice(&1i32.to_be_bytes());
        put_str(&mut q, topic);
        q.push(0);
        send(&mut s, &q)?;
        recv(&mut s, &mut buf)?;
        let mut r = Rd(&buf[4..]);
        r.i32()?;
        let mut nodes = HashMap::new();
        for _ in 0..r.i32()? {
            let id = r.i32()?;
            let h = r.str()?;
            let p = r.i32()?;
            r.str()?;
            nodes.insert(id, format!("{h}:{p}"));
        }
        r.str()?;
        r.i32()?;
        let mut leaders = Vec::new();
        let mut ok = r.i32()? == 1;
        if ok {
            ok = r.i16()? == 0;
            r.str()?;
            r.take(1)?;
            for _ in 0..r.i32()? {
                let e = r.i16()?;
                let p = r.i32()? as usize;
                let l = r.i32()?;
                for _ in 0..2 {
                    for _ in 0..r.i32()? {
                        r.i32()?;
                    }
                }
                if e != 0 || !nodes.contains_key(&l) {
                    ok = false;
                    continue;
                }
                if leaders.len() <= p {
                    leaders.resize(p + 1, addr);
                }
                if let Some(a) = nodes[&l].to_socket_addrs()?.find(|a| a.is_ipv4()) {
                    leaders[p] = a;
                }
            }
        }
        if ok && !leaders.is_empty() {
            return Ok(Cluster { produce_ver: pv, fetch_ver: fv, leaders });
        }
        thread::sleep(Duration::from_millis(100));
    }
    err(format!("topic {topic} has no leader (does it exist?)"))
}

/// everything of a Produce request before the record batch; the frame length is prepended
fn produce_head(ver: i16, corr: i32, acks: i16, topic: &str, part: i32, batch_len: usize) -> Vec<u8> {
    let mut q = header(0, ver, corr);
    q.extend_from_slice(&(-1i16).to_be_bytes()); // transactional id
    q.extend_from_slice(&acks.to_be_bytes());
    q.extend_from_slice(&30_000i32.to_be_bytes());
    q.extend_from_slice(&1i32.to_be_bytes());
    put_str(&mut q, topic);
    q.extend_from_slice(&1i32.to_be_bytes());
    q.extend_from_slice(&part.to_be_bytes());
    q.extend_from_slice(&(batch_len as i32).to_be_bytes());
    let mut f = ((q.len() + batch_len) as i32).to_be_bytes().to_vec();
    f.extend_from_slice(&q);
    f
}

fn produce_err(buf: &[u8]) -> Res<(i16, i64)> {
    let mut r = Rd(&buf[4..]);
    r.i32()?;
    r.str()?;
    r.i32()?;
    r.i32()?;
    Ok((r.i16()?, r.i64()?))
}

fn fetch_req(ver: i16, corr: i32, topic: &str, part: i32, off: i64, wait: i32, min: i32, max: i32) -> Vec<u8> {
    let mut q = header(1, ver, corr);
    q.extend_from_slice(&(-1i32).to_be_bytes());
    q.extend_from_slice(&wait.to_be_bytes());
    q.extend_from_slice(&min.to_be_bytes());
    q.extend_from_slice(&max.to_be_bytes());
    q.push(0); // read uncommitted
    if ver >= 7 {
        q.extend_from_slice(&0i32.to_be_bytes()); // session id
        q.extend_from_slice(&(-1i32).to_be_bytes()); // sessionless
    }
    q.extend_from_slice(&1i32.to_be_bytes());
    put_str(&mut q, topic);
    q.extend_from_slice(&1i32.to_be_bytes());
    q.extend_from_slice(&part.to_be_bytes());
    if ver >= 9 {
        q.extend_from_slice(&(-1i32).to_be_bytes()); // leader epoch
    }
    q.extend_from_slice(&off.to_be_bytes());
    if ver >= 5 {
        q.extend_from_slice(&(-1i64).to_be_bytes()); // log start offset (followers only)
    }
    q.extend_from_slice(&max.to_be_bytes());
    if ver >= 7 {
        q.extend_from_slice(&0i32.to_be_bytes()); // forgotten
    }
    if ver >= 11 {
        put_str(&mut q, ""); // rack
    }
    q
}

/// -> (error, high watermark, record bytes)
fn fetch_ans(ver: i16, buf: &[u8]) -> Res<(i16, i64, &[u8])> {
    let mut r = Rd(&buf[4..]);
    r.i32()?;
    if ver >= 7 {
        let e = r.i16()?;
        r.i32()?;
        if e != 0 {
            return err(format!("Fetch error {e}"));
        }
    }
    if r.i32()? == 0 {
        return Ok((0, -1, &[]));
    }
    r.str()?;
    r.i32()?;
    r.i32()?;
    let e = r.i16()?;
    let hw = r.i64()?;
    r.i64()?;
    if ver >= 5 {
        r.i64()?;
    }
    for _ in 0..r.i32()?.max(0) {
        r.i64()?;
        r.i64()?;
    }
    if ver >= 11 {
        r.i32()?;
    }
    let n = r.i32()?.max(0) as usize;
    Ok((e, hw, r.take(n)?))
}

/// walks whole batches: f(base offset, last offset delta, records, batch bytes)
fn walk(mut d: &[u8], mut f: impl FnMut(i64, i32, i32, &[u8])) {
    while d.len() >= 61 {
        let l = i32::from_be_bytes(d[8..12].try_into().unwrap()) as usize + 12;
        if d.len() < l {
            break;
        }
        let base = i64::from_be_bytes(d[..8].try_into().unwrap());
        let last = i32::from_be_bytes(d[23..27].try_into().unwrap());
        let n = i32::from_be_bytes(d[57..61].try_into().unwrap());
        f(base, last, n, &d[..l]);
        d = &d[l..];
    }
}

// ---------------------------------------------------------------- modes

struct Pace {
    start: Instant,
    per_s: f64,
}
impl Pace {
    fn due(&self, n: u64) -> Instant {
        self.start + Duration::from_secs_f64(n as f64 / self.per_s)
    }
}

fn produce(a: &Args) -> Res<()> {
    let topic = a.s("topic", "bench");
    let size: usize = a.n("record-size", 100)?;
    let total: u64 = a.n("records", 1_000_000)?;
    let conns: usize = a.n::<usize>("connections", 1)?.max(1);
    let inflight: usize = a.n::<usize>("inflight", 5)?.max(1);
    let bytes: usize = a.n("batch-bytes", 262_144)?;
    let per: usize = a.n("batch-records", (bytes / (size + 8)).max(1))?;
    let rate: f64 = a.n("rate", 0.0)?;
    let maxs: f64 = a.n("max-seconds", 60.0)?;
    let rotate = a.n::<u8>("rotate", 0)? != 0;
    let acks: i16 = match a.s("acks", "1").as_str() {
        "all" | "-1" => -1,
        "0" => 0,
        "1" => 1,
        x => return err(format!("--acks {x}")),
    };
    let cl = discover(&a.s("bootstrap", "127.0.0.1:9092"), &topic)?;
    let parts = cl.leaders.len();
    let b = Arc::new(batch(per, size, &mut Rng(0x9e37_79b9_7f4a_7c15), None));
    let batches = total.div_ceil(per as u64);
    let next = Arc::new(AtomicU64::new(0));
    let acked = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let hist = Arc::new(Mutex::new(Hist::new()));
    let cpu0 = cpu_s();
    let t0 = Instant::now();
    let pace = (rate > 0.0).then(|| Arc::new(Pace { start: t0, per_s: rate / per as f64 }));
    let end = t0 + Duration::from_secs_f64(maxs);
    let mut th = Vec::new();
    for c in 0..conns {
        let (part, topic, b) = ((c % parts) as i32, topic.clone(), b.clone());
        let (next, acked, stop, hist, pace) = (next.clone(), acked.clone(), stop.clone(), hist.clone(), pace.clone());
        let addr = cl.leaders[c % parts];
        let ver = cl.produce_ver;
        th.push(thread::spawn(move || -> Res<()> {
            let mut s = connect(addr, Duration::from_secs(30))?;
            let mut head = produce_head(ver, 0, acks, &topic, part, b.len());
            let part_at = head.len() - 8; // before the batch's length
            let mut turn = c;
            let mut q: std::collections::VecDeque<Instant> = Default::default();
            let mut h = Hist::new();
            let mut buf = Vec::new();
            let mut corr = 0i32;
            loop {
                let more = !stop.load(Relaxed) && Instant::now() < end;
                let mut sent = false;
                if more && q.len() < inflight {
                    let i = next.fetch_add(1, Relaxed);
                    if i < batches {
                        let mut when = Instant::now();
                        if let Some(p) = &pace {
                            let due = p.due(i);
                            if due > when {
                                // answers wait in the socket buffer meanwhile; latency is taken when read,
                                // so drain first where an answer is due
                                while !q.is_empty() && due > Instant::now() {
                                    one(&mut s, &mut buf, &mut q, &mut h, &acked, per)?;
                                }
                                let now = Instant::now();
                                if due > now {
                                    thread::sleep(due - now);
                                }
                            }
                            when = due.max(t0); // intended time
                        }
                        corr += 1;
                        head[8..12].copy_from_slice(&corr.to_be_bytes());
                        if rotate {
                            head[part_at..part_at + 4].copy_from_slice(&((turn % parts) as i32).to_be_bytes());
                            turn += 1;
                        }
                        write2(&mut s, &head, &b)?;
                        if acks == 0 {
                            acked.fetch_add(per as u64, Relaxed);
                        } else {
                            q.push_back(when);
                        }
                        sent = true;
                    }
                }
                if sent && q.len() < inflight {
                    continue;
                }
                if q.is_empty() {
                    if !sent {
                        break;
                    }
                    continue;
                }
                one(&mut s, &mut buf, &mut q, &mut h, &acked, per)?;
            }
            hist.lock().unwrap().merge(&h);
            Ok(())
        }));
    }
    let mut e = None;
    for t in th {
        if let Err(x) = t.join().unwrap_or_else(|_| err("thread panicked")) {
            stop.store(true, Relaxed);
            e = Some(x);
        }
    }
    if let Some(x) = e {
        return Err(x);
    }
    let w = t0.elapsed().as_secs_f64();
    let n = acked.load(Relaxed);
    println!(
        "{{\"mode\":\"produce\",\"records\":{n},\"bytes\":{},\"wall_s\":{w:.4},\"rec_s\":{:.0},\"mb_s\":{:.2},\"cpu_s\":{:.2},\"batch_records\":{per},\"batch_bytes\":{},\"requests\":{},\"inflight\":{inflight},\"connections\":{conns},\"acks\":{acks},\"produce_version\":{},{}}}",
        n * size as u64, n as f64 / w, (n * size as u64) as f64 / w / 1e6, cpu_s() - cpu0, b.len(), n / per as u64, cl.produce_ver,
        hist.lock().unwrap().json("ack")
    );
    if n < total && acks != 0 && w < maxs {
        return err("fewer records acknowledged than asked for");
    }
    Ok(())
}

fn one(s: &mut TcpStream, buf: &mut Vec<u8>, q: &mut std::collections::VecDeque<Instant>, h: &mut Hist, acked: &AtomicU64, per: usize) -> Res<()> {
    recv(s, buf)?;
    let t = q.pop_front().unwrap();
    let (e, _) = produce_err(buf)?;
    if e != 0 {
        return err(format!("Produce error code {e}"));
    }
    h.add(t.elapsed().as_micros() as u64);
    acked.fetch_add(per as u64, Relaxed);
    Ok(())
}

fn fetch(a: &Args) -> Res<()> {
    let topic = a.s("topic", "bench");
    let want: u64 = a.n("records", u64::MAX)?;
    let maxs: f64 = a.n("max-seconds", 60.0)?;
    let max: i32 = a.n("max-bytes", 1 << 20)?;
    let wait: i32 = a.n("max-wait-ms", 500)?;
    let cl = discover(&a.s("bootstrap", "127.0.0.1:9092"), &topic)?;
    let conns = a.n("connections", cl.leaders.len())?.clamp(1, cl.leaders.len());
    let got = Arc::new(AtomicU64::new(0));
    let bytes = Arc::new(AtomicU64::new(0));
    let reqs = Arc::new(AtomicU64::new(0));
    let cpu0 = cpu_s();
    let t0 = Instant::now();
    let end = t0 + Duration::from_secs_f64(maxs);
    let mut th = Vec::new();
    for c in 0..conns {
        let mine: Vec<(i32, SocketAddr)> =
            cl.leaders.iter().enumerate().filter(|(p, _)| p % conns == c).map(|(p, a)| (p as i32, *a)).collect();
        let (topic, got, bytes, reqs, ver) = (topic.clone(), got.clone(), bytes.clone(), reqs.clone(), cl.fetch_ver);
        th.push(thread::spawn(move || -> Res<()> {
            for (p, addr) in mine {
                let mut s = connect(addr, Duration::from_secs(30))?;
                let mut buf = Vec::new();
                let (mut off, mut corr) = (0i64, 0);
                while got.load(Relaxed) < want && Instant::now() < end {
                    corr += 1;
                    send(&mut s, &fetch_req(ver, corr, &topic, p, off, wait, 1, max))?;
                    recv(&mut s, &mut buf)?;
                    reqs.fetch_add(1, Relaxed);
                    let (e, hw, d) = fetch_ans(ver, &buf)?;
                    if e != 0 {
                        return err(format!("Fetch error code {e}"));
                    }
                    let mut n = 0u64;
                    walk(d, |b, l, k, _| {
                        off = off.max(b + l as i64 + 1);
                        n += k as u64;
                    });
                    bytes.fetch_add(d.len() as u64, Relaxed);
                    got.fetch_add(n, Relaxed);
                    if n == 0 && off >= hw {
                        break;
                    }
                }
            }
            Ok(())
        }));
    }
    for t in th {
        t.join().unwrap_or_else(|_| err("thread panicked"))?;
    }
    let w = t0.elapsed().as_secs_f64();
    let (n, by) = (got.load(Relaxed), bytes.load(Relaxed));
    println!(
        "{{\"mode\":\"fetch\",\"records\":{n},\"bytes\":{by},\"wall_s\":{w:.4},\"rec_s\":{:.0},\"mb_s\":{:.2},\"cpu_s\":{:.2},\"requests\":{},\"connections\":{conns},\"fetch_version\":{}}}",
        n as f64 / w, by as f64 / w / 1e6, cpu_s() - cpu0, reqs.load(Relaxed), cl.fetch_ver
    );
    if want != u64::MAX && n < want {
        return err("fewer records fetched than asked for");
    }
    Ok(())
}

fn e2e(a: &Args) -> Res<()> {
    let topic = a.s("topic", "bench");
    let size: usize = a.n::<usize>("record-size", 100)?.max(16);
    let rate: f64 = a.n("rate", 1000.0)?;
    let n: u64 = a.n("records", 10_000)?;
    let warm: u64 = a.n("warmup", 1000)?;
    let maxs: f64 = a.n("max-seconds", 120.0)?;
    let acks: i16 = if matches!(a.s("acks", "all").as_str(), "all" | "-1") { -1 } else { 1 };
    if rate <= 0.0 {
        return err("--rate must be > 0");
    }
    let cl = discover(&a.s("bootstrap", "127.0.0.1:9092"), &topic)?;
    let (addr, ver, fver) = (cl.leaders[0], cl.produce_ver, cl.fetch_ver);
    let total = n + warm;
    let mut w = connect(addr, Duration::from_secs(30))?;
    let mut wr = w.try_clone()?;
    let mut f = connect(addr, Duration::from_secs(30))?;
    let cpu0 = cpu_s();
    let t0 = Instant::now() + Duration::from_millis(200);
    let end = t0 + Duration::from_secs_f64(maxs);
    let pace = Pace { start: t0, per_s: rate };
    // records carry their intended send time as nanoseconds since t0
    let (tx, rx) = mpsc::channel::<u64>();
    let acker = thread::spawn(move || -> Res<Hist> {
        let mut h = Hist::new();
        let mut buf = Vec::new();
        let mut i = 0u64;
        while let Ok(due) = rx.recv() {
            recv(&mut wr, &mut buf)?;
            let (e, _) = produce_err(&buf)?;
            if e != 0 {
                return err(format!("Produce error code {e}"));
            }
            let now = t0.elapsed().as_nanos() as u64;
            if i >= warm {
                h.add(now.saturating_sub(due) / 1000);
            }
            i += 1;
        }
        Ok(h)
    });
    let tp = topic.clone();
    let fetcher = thread::spawn(move || -> Res<Hist> {
        let mut h = Hist::new();
        let mut buf = Vec::new();
        let (mut off, mut corr, mut seen) = (0i64, 0, 0u64);
        while seen < total && Instant::now() < end {
            corr += 1;
            send(&mut f, &fetch_req(fver, corr, &tp, 0, off, 500, 1, 1 << 20))?;
            recv(&mut f, &mut buf)?;
            let now = Instant::now().saturating_duration_since(t0).as_nanos() as u64;
            let (e, _, d) = fetch_ans(fver, &buf)?;
            if e != 0 {
                return err(format!("Fetch error code {e}"));
            }
            walk(d, |b, l, k, raw| {
                let o = b + l as i64 + 1;
                if o <= off {
                    return;
                }
                off = o;
                // one record a batch: its value is the last `size` bytes before the header count
                if k == 1 && raw.len() > size + 1 {
                    let v = &raw[raw.len() - 1 - size..];
                    let due = u64::from_be_bytes(v[..8].try_into().unwrap());
                    let id = u64::from_be_bytes(v[8..16].try_into().unwrap());
                    if id >= warm {
                        h.add(now.saturating_sub(due) / 1000);
                    }
                }
                seen += k as u64;
            });
        }
        Ok(h)
    });
    let mut rng = Rng(42);
    let mut val = vec![b'x'; size];
    for c in val.iter_mut() {
        *c = b'A' + (rng.next() % 26) as u8;
    }
    let mut late = 0u64;
    let mut sent = 0u64;
    for i in 0..total {
        let due = pace.due(i);
        let now = Instant::now();
        if now > end {
            break;
        }
        if due > now {
            thread::sleep(due - now);
        } else if now - due > Duration::from_millis(1) {
            late += 1;
        }
        let ns = (due - t0).as_nanos() as u64;
        val[..8].copy_from_slice(&ns.to_be_bytes());
        val[8..16].copy_from_slice(&i.to_be_bytes());
        let b = batch(1, size, &mut rng, Some(&val));
        let head = produce_head(ver, i as i32 + 1, acks, &topic, 0, b.len());
        write2(&mut w, &head, &b)?;
        tx.send(ns)?;
        sent += 1;
    }
    drop(tx);
    let ha = acker.join().unwrap_or_else(|_| err("thread panicked"))?;
    let hf = fetcher.join().unwrap_or_else(|_| err("thread panicked"))?;
    let wall = t0.elapsed().as_secs_f64();
    println!(
        "{{\"mode\":\"e2e\",\"records\":{sent},\"rate\":{rate},\"achieved_rate\":{:.1},\"record_size\":{size},\"acks\":{acks},\"wall_s\":{wall:.3},\"cpu_s\":{:.2},\"sent_late_1ms\":{late},{},{}}}",
        sent as f64 / wall, cpu_s() - cpu0, ha.json("ack"), hf.json("e2e")
    );
    if hf.n < n {
        return err("not every record came back");
    }
    Ok(())
}

const USAGE: &str = "rawload produce|fetch|e2e --bootstrap H:P --topic T [--records N] [--max-seconds S]
 produce: --record-size B --acks 0|1|all --batch-bytes B | --batch-records N --inflight K --connections C --rate REC/S
 fetch:   --max-bytes B --max-wait-ms MS --connections C
 e2e:     --rate REC/S --record-size B --acks 1|all --warmup N   (topic with one partition, starting empty)";

fn main() {
    let (mode, a) = match Args::parse(std::env::args().skip(1)) {
        Ok(x) => x,
        Err(e) => {
            eprintln!("rawload: {e}\n{USAGE}");
            std::process::exit(2);
        }
    };
    let r = match mode.as_str() {
        "produce" => produce(&a),
        "fetch" => fetch(&a),
        "e2e" => e2e(&a),
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    };
    if let Err(e) = r {
        eprintln!("rawload: {e}");
        std::process::exit(1);
    }
}
