//! A TCP proxy on loopback that can cut, silence and delay what passes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long the far side may take to take a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Stops when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    target: SocketAddr,
    connections: Mutex<BTreeMap<u64, Connection>>,
    next: AtomicU64,
    cut: AtomicU64,
    delay_ms: AtomicU64,
    held: AtomicU64,
    delayed: AtomicU64,
}

#[derive(Clone)]
struct Connection {
    cut: CancellationToken,
    silent: watch::Sender<bool>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `target`.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            connections: Mutex::default(),
            next: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            held: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, shared.clone(), stop.clone())));
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection and says how many there were; new ones are taken.
    pub fn cut_all(&self) -> usize {
        let connections = self.shared.lock();
        for connection in connections.values() {
            connection.cut.cancel();
        }
        connections.len()
    }

    /// Cuts the connection that `choose` picks out of so many, and says how many it cut.
    pub fn cut_one(&self, choose: impl FnOnce(usize) -> usize) -> usize {
        let chosen = self.shared.chosen(choose);
        chosen.iter().for_each(|connection| connection.cut.cancel());
        usize::from(chosen.is_some())
    }

    /// Silences the connection that `choose` picks out of so many for a while: nothing passes, nothing is closed.
    pub fn silence(&self, choose: impl FnOnce(usize) -> usize, time: Duration) {
        if let Some(connection) = self.shared.chosen(choose) {
            connection.silent.send_replace(true);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                connection.silent.send_replace(false);
            });
        }
    }

    /// Has each piece of data wait, for a while.
    pub fn delay(&self, by: Duration, time: Duration) {
        let milliseconds = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(milliseconds, Ordering::Relaxed);
        let shared = self.shared.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            shared.delay_ms.store(0, Ordering::Relaxed);
        });
    }

    /// How many pieces of data a silenced connection has held back.
    pub fn held(&self) -> u64 {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// How many pieces of data were late.
    pub fn delayed(&self) -> u64 {
        self.shared.delayed.load(Ordering::Relaxed)
    }

    /// How many connections were cut.
    pub fn cut(&self) -> u64 {
        self.shared.cut.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chosen(&self, choose: impl FnOnce(usize) -> usize) -> Option<Connection> {
        let connections = self.lock();
        if connections.is_empty() {
            return None;
        }
        connections.values().nth(choose(connections.len())).cloned()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { cut: stop.child_token(), silent: watch::Sender::new(false) };
        shared.lock().insert(number, connection.clone());
        let (shared, stop) = (shared.clone(), stop.clone());
        tokio::spawn(async move {
            carry(client, &shared, &connection).await;
            shared.lock().remove(&number);
            if connection.cut.is_cancelled() && !stop.is_cancelled() {
                shared.cut.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// Until either side closes, or the connection is cut: both sides are closed then.
async fn carry(client: TcpStream, shared: &Shared, connection: &Connection) {
    let Ok(Ok(server)) = tokio::time::timeout(CONNECT, TcpStream::connect(shared.target)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let both = async {
        let there = pump(from_client, to_server, shared, connection.silent.subscribe());
        let back = pump(from_server, to_client, shared, connection.silent.subscribe());
        tokio::join!(there, back);
    };
    // Cancel-safe: what is cut may lose what was on its way.
    tokio::select! {
        () = connection.cut.cancelled() => {}
        () = both => {}
    }
}

/// One direction. The end of the one side's words is passed on, so that half-closed connections work.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    mut silent: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let delay = shared.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            shared.delayed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if *silent.borrow() {
            shared.held.fetch_add(1, Ordering::Relaxed);
        }
        if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn says_back(stream: &mut TcpStream) -> std::io::Result<bool> {
        stream.write_all(b"x").await?;
        let mut byte = [0];
        Ok(stream.read(&mut byte).await? == 1)
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_what_comes_after_passes() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_back(&mut stream).await.unwrap());
        assert_eq!(proxy.cut_all(), 1);
        let mut byte = [0];
        assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_back(&mut stream).await.unwrap());
        assert_eq!(proxy.cut(), 1);
    }

    #[tokio::test]
    async fn a_silenced_connection_is_heard_again() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(says_back(&mut stream).await.unwrap());
        proxy.silence(|_| 0, Duration::from_millis(300));
        let started = std::time::Instant::now();
        assert!(says_back(&mut stream).await.unwrap());
        assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
        assert_eq!(proxy.held(), 1);
    }
}
