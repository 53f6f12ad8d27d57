//! A TCP relay that a test can cut, to break what two processes say to each
//! other in ways that neither of them would.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::Context;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A running relay. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Cutter {
    addr: SocketAddr,
    wishes: watch::Sender<Wishes>,
    counts: watch::Sender<Counts>,
    tasks: JoinSet<()>,
}

/// Connections that clients have made to the relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub opened: u64,
    pub open: u64,
}

/// What the test wants now.
#[derive(Debug, Clone, Copy, Default)]
struct Wishes {
    is_down: bool,
    is_paused: bool,
    /// Connections from before the latest cut end.
    cuts: u64,
    /// Bytes towards the client, after which each connection is cut.
    limit_bytes: Option<u64>,
}

impl Cutter {
    /// Relays to `target` from a free port of the loopback interface.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for the cutter")?;
        let addr = listener.local_addr()?;
        let wishes = watch::Sender::new(Wishes::default());
        let counts = watch::Sender::new(Counts::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, wishes.clone(), counts.clone()));
        Ok(Self {
            addr,
            wishes,
            counts,
            tasks,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets all connections; new ones work.
    pub fn cut(&self) {
        self.wishes.send_modify(|wishes| wishes.cuts += 1);
    }

    /// Resets all connections and every new one, until [`Self::up`].
    pub fn down(&self) {
        self.wishes.send_modify(|wishes| {
            wishes.is_down = true;
            wishes.cuts += 1;
        });
    }

    pub fn up(&self) {
        self.wishes.send_modify(|wishes| wishes.is_down = false);
    }

    /// Holds all bytes back, as a network that has lost its way, until
    /// [`Self::resume`].
    pub fn pause(&self) {
        self.wishes.send_modify(|wishes| wishes.is_paused = true);
    }

    pub fn resume(&self) {
        self.wishes.send_modify(|wishes| wishes.is_paused = false);
    }

    /// Resets each connection opened from now on after this many bytes towards
    /// the client; none: never.
    pub fn limit(&self, bytes: Option<u64>) {
        self.wishes.send_modify(|wishes| wishes.limit_bytes = bytes);
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as wanted.
    pub async fn until(&self, wanted: impl FnMut(&Counts) -> bool) -> Counts {
        match self.counts.subscribe().wait_for(wanted).await {
            Ok(counts) => *counts,
            Err(_closed) => self.counts(),
        }
    }

    /// Closes the port and all connections, and returns when that is done.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Counts a connection as open while it lives.
struct Open(watch::Sender<Counts>);

impl Open {
    fn new(counts: watch::Sender<Counts>) -> Self {
        counts.send_modify(|counts| {
            counts.opened += 1;
            counts.open += 1;
        });
        Self(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|counts| counts.open -= 1);
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    wishes: watch::Sender<Wishes>,
    counts: watch::Sender<Counts>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let open = Open::new(counts.clone());
                let wishes = wishes.subscribe();
                connections.spawn(async move {
                    // Whatever breaks here is what the test wants, or the two
                    // ends see it too.
                    let _ = connection(client, target, wishes).await;
                    drop(open);
                });
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn connection(
    mut client: TcpStream,
    target: SocketAddr,
    mut wishes: watch::Receiver<Wishes>,
) -> io::Result<()> {
    let at_start = *wishes.borrow_and_update();
    if at_start.is_down {
        return client.set_zero_linger();
    }
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let is_complete = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = pump(&mut from_client, &mut to_server, None, wishes.clone());
        let down = pump(
            &mut from_server,
            &mut to_client,
            at_start.limit_bytes,
            wishes.clone(),
        );
        tokio::select! {
            pumped = async { tokio::try_join!(up, down) } => pumped.is_ok(),
            _cut = wishes.wait_for(|now| now.cuts != at_start.cuts) => false,
        }
    };
    if !is_complete {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

/// Copies until the end, which it passes on, or until `limit` bytes.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    limit: Option<u64>,
    mut wishes: watch::Receiver<Wishes>,
) -> io::Result<()> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        // The sender lives as long as the relay.
        let _ = wishes.wait_for(|now| !now.is_paused).await;
        let allowed = usize::try_from(left).unwrap_or(usize::MAX).min(read);
        to.write_all(buffer.get(..allowed).unwrap_or_default())
            .await?;
        if read == 0 {
            return to.shutdown().await;
        }
        left -= allowed as u64;
        if left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}
