//! A proxy for TCP that cuts what goes through it, as a bad network does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::broker::free_address;

/// Passes connections on to one address, until it is told otherwise. Its threads end with the process.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    to: String,
    /// Nobody gets through.
    is_down: bool,
    /// Both ends of each connection.
    open: Vec<(TcpStream, TcpStream)>,
    cuts: usize,
}

impl Cutter {
    /// Listens, and passes on to `to` (`HOST:PORT`), where nobody need listen yet.
    pub fn start(to: &str) -> Cutter {
        let shared = Shared { to: to.to_owned(), is_down: false, open: Vec::new(), cuts: 0 };
        let cutter = Cutter { address: free_address(), shared: Arc::new(Mutex::new(shared)) };
        let listener = TcpListener::bind(cutter.address).expect("nobody else has the address");
        let shared = Arc::clone(&cutter.shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that can't be passed on is closed: the other side sees a network that is down.
                let _ = pass_on(client, &shared);
            }
        });
        cutter
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on it goes there.
    pub fn pass_on_to(&self, to: &str) {
        self.lock().to = to.to_owned();
    }

    /// Cuts every connection, wherever it is; new ones get through.
    pub fn cut(&self) {
        let mut shared = self.lock();
        for (client, server) in std::mem::take(&mut shared.open) {
            // One that has ended meanwhile is no cut.
            let cut = client.shutdown(Shutdown::Both).is_ok() | server.shutdown(Shutdown::Both).is_ok();
            shared.cuts += usize::from(cut);
        }
    }

    /// Cuts every connection, and lets none through until it is up again.
    pub fn down(&self) {
        self.lock().is_down = true;
        self.cut();
    }

    /// Lets connections through.
    pub fn up(&self) {
        self.lock().is_down = false;
    }

    /// Connections cut so far.
    pub fn cuts(&self) -> usize {
        self.lock().cuts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass_on(client: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let to = {
        let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.is_down {
            return Ok(());
        }
        shared.to.clone()
    };
    let server = TcpStream::connect(to)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let ends = (client.try_clone()?, server.try_clone()?);
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.is_down {
        return Ok(());
    }
    shared.open.retain(|(client, _)| client.peer_addr().is_ok());
    shared.open.push((client.try_clone()?, server.try_clone()?));
    let back = (server, client);
    thread::spawn(move || copy(ends.0, ends.1));
    thread::spawn(move || copy(back.0, back.1));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut bytes) {
        if length == 0 || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
    let _ = to.shutdown(Shutdown::Write);
}
