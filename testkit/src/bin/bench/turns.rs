//! Three clients that ask one after the other, again and again, so that whatever
//! else the machine does meets all of them alike.

use anyhow::{Context, Result, ensure};
use testkit::load::{Connection, Request, Shape};
use tokio::{
    runtime::Builder,
    task::spawn_blocking,
    time::{Duration, Instant, timeout},
};

use crate::system::CLIENT_CREDENTIAL;

/// Rounds of a connection, after which each client opens another one: one may be
/// luckier than the other.
const ROUNDS_PER_CONNECTION: usize = 100;

/// Rounds that do not count, on each connection.
const WARM_UP: usize = 5;

/// No answer takes longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every order of three.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
    [0, 2, 1],
    [2, 0, 1],
    [1, 0, 2],
];

/// Sends the same request again and again.
#[derive(Debug)]
pub(crate) struct Client {
    request: Request,
    /// What it must be answered.
    status: u16,
}

impl Client {
    /// `plan` is what the plan answers to this client, `status` what it gets to
    /// see. Bedrock would answer with a brief stream.
    pub(crate) async fn new(
        url: &str,
        plan: Shape,
        status: u16,
        body_bytes: usize,
    ) -> Result<Self> {
        let headers = [CLIENT_CREDENTIAL.to_owned()];
        let request = Request::of_both(url, plan, Shape::Brief, body_bytes, &headers).await?;
        Ok(Self { request, status })
    }

    async fn ask(&self, connection: &mut Connection) -> Result<f64> {
        let exchange = connection.exchange(&self.request.bytes, Instant::now());
        let exchange = timeout(PATIENCE, exchange)
            .await
            .context("a request is not answered")??;
        ensure!(
            exchange.status == self.status,
            "a request was answered with {} in place of {}",
            exchange.status,
            self.status
        );
        let time = exchange.first_content.unwrap_or(exchange.total);
        Ok(time.as_secs_f64() * 1e6)
    }
}

/// What each client waited for in each round, in microseconds: the first content
/// of a stream, or the end of an answer that is none.
pub(crate) async fn take_turns(clients: [Client; 3], rounds: usize) -> Result<[Vec<f64>; 3]> {
    // On a thread of its own: no answer waits until another one is told of it.
    spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(turns(&clients, rounds))
    })
    .await?
}

async fn turns(clients: &[Client; 3], rounds: usize) -> Result<[Vec<f64>; 3]> {
    let mut times = [const { Vec::new() }; 3];
    let mut orders = ORDERS.iter().cycle();
    while times[0].len() < rounds {
        let [first, second, third] = clients;
        let mut connections = [
            Connection::open(first.request.addr).await?,
            Connection::open(second.request.addr).await?,
            Connection::open(third.request.addr).await?,
        ];
        let left = ROUNDS_PER_CONNECTION.min(rounds - times[0].len());
        for round in 0..WARM_UP + left {
            for turn in orders.next().into_iter().flatten() {
                let (Some(client), Some(connection), Some(times)) = (
                    clients.get(*turn),
                    connections.get_mut(*turn),
                    times.get_mut(*turn),
                ) else {
                    continue;
                };
                let time = client.ask(connection).await?;
                if round >= WARM_UP {
                    times.push(time);
                }
            }
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_in_every_place_as_often() {
        for place in 0..3 {
            for client in 0..3 {
                let times = ORDERS.iter().filter(|it| it[place] == client).count();
                assert_eq!(times, 2, "client {client} in place {place}");
            }
        }
    }
}
