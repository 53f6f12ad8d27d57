//! The cutter between a client and a server that repeats what it hears.

#![cfg(test)]

use std::{io, net::SocketAddr};

use testkit::cutter::Cutter;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

async fn echo(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut tcp, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    addr
}

async fn repeats(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
    let mut heard = vec![0; text.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, text.as_bytes());
}

async fn end(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.map(|_| rest)
}

#[tokio::test]
async fn it_relays_and_passes_the_end_on() {
    let mut tasks = JoinSet::new();
    let cutter = Cutter::start(echo(&mut tasks).await).await.unwrap();
    let mut client = TcpStream::connect(cutter.addr()).await.unwrap();
    repeats(&mut client, "hello").await;
    client.write_all(b"bye").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(end(&mut client).await.unwrap(), b"bye");
    cutter.until(|counts| counts.open == 0).await;
    assert_eq!(cutter.counts().opened, 1);
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_spares_what_comes() {
    let mut tasks = JoinSet::new();
    let cutter = Cutter::start(echo(&mut tasks).await).await.unwrap();
    let mut client = TcpStream::connect(cutter.addr()).await.unwrap();
    repeats(&mut client, "hello").await;
    cutter.cut();
    let error = end(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let mut client = TcpStream::connect(cutter.addr()).await.unwrap();
    repeats(&mut client, "hello again").await;
}

#[tokio::test]
async fn nothing_works_while_it_is_down() {
    let mut tasks = JoinSet::new();
    let cutter = Cutter::start(echo(&mut tasks).await).await.unwrap();
    let mut before = TcpStream::connect(cutter.addr()).await.unwrap();
    repeats(&mut before, "hello").await;
    cutter.down();
    end(&mut before).await.unwrap_err();
    let mut during = TcpStream::connect(cutter.addr()).await.unwrap();
    end(&mut during).await.unwrap_err();
    cutter.up();
    let mut after = TcpStream::connect(cutter.addr()).await.unwrap();
    repeats(&mut after, "hello").await;
}

#[tokio::test]
async fn a_pause_holds_bytes_back_and_loses_none() {
    let mut tasks = JoinSet::new();
    let cutter = Cutter::start(echo(&mut tasks).await).await.unwrap();
    let mut client = TcpStream::connect(cutter.addr()).await.unwrap();
    repeats(&mut client, "hello").await;
    cutter.pause();
    client.write_all(b"held").await.unwrap();
    // Another connection's bytes would have come by now.
    let mut other = TcpStream::connect(echo(&mut tasks).await).await.unwrap();
    repeats(&mut other, "hello").await;
    assert_eq!(
        client.try_read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    cutter.resume();
    let mut heard = [0; 4];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"held");
}

#[tokio::test]
async fn a_limit_lets_exactly_so_many_bytes_through() {
    let mut tasks = JoinSet::new();
    let cutter = Cutter::start(echo(&mut tasks).await).await.unwrap();
    cutter.limit(Some(7));
    let mut client = TcpStream::connect(cutter.addr()).await.unwrap();
    client.write_all(b"hello world").await.unwrap();
    let mut heard = [0; 7];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello w");
    end(&mut client).await.unwrap_err();
}
