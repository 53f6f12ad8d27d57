//! The configuration's history: where it stands, and how to come from any
//! position to there.
//!
//! Postgres gives every committed change the next revision (see
//! `migrations/triggers.sql`). [`listener`] learns of it, [`reader`] turns it
//! into what a proxy needs, [`digest`] says what a proxy should hold by then.

pub mod digest;
pub mod listener;
pub mod reader;

use tokio::sync::watch;
use uuid::Uuid;

pub use crate::store::changes::Head;

/// A point in the history. Revisions of different epochs must not be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub epoch: Uuid,
    pub revision: i64,
}

/// The newest head that this process knows; none while the listener has no
/// connection.
pub type HeadWatch = watch::Receiver<Option<Head>>;

impl Head {
    pub fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            revision: self.revision,
        }
    }

    /// Whether the log still has all that happened after a position.
    pub fn continues(&self, position: Position) -> bool {
        position.epoch == self.epoch && (self.floor..=self.revision).contains(&position.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_position_between_floor_and_head_can_be_continued() {
        let epoch = Uuid::from_u128(1);
        let head = Head {
            epoch,
            revision: 9,
            floor: 4,
        };
        let check = |epoch, revision, expected| {
            let position = Position { epoch, revision };
            assert_eq!(head.continues(position), expected, "{position:?}");
        };
        check(epoch, 3, false);
        check(epoch, 4, true);
        check(epoch, 9, true);
        check(epoch, 10, false);
        check(Uuid::from_u128(2), 9, false);
    }
}
