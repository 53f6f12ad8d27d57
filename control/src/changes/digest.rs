//! One number for all that proxies hold: computed once per revision, however
//! many proxies are told.

use diesel_async::AsyncPgConnection;
use tokio::sync::Mutex;

use super::Position;
use crate::store::{self, changes};

/// The digest of the newest position that was asked for.
#[derive(Debug, Default)]
pub struct Digest {
    newest: Mutex<Option<(Position, u64)>>,
}

impl Digest {
    /// The connection must be in a transaction that sees exactly this position.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn at(
        &self,
        position: Position,
        connection: &mut AsyncPgConnection,
    ) -> store::Result<u64> {
        // Held while computing: who asks meanwhile wants the same number.
        let mut newest = self.newest.lock().await;
        if let Some((at, digest)) = *newest
            && at == position
        {
            return Ok(digest);
        }
        let digest = changes::digest(connection).await?;
        *newest = Some((position, digest));
        Ok(digest)
    }
}
