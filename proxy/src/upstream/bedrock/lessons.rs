//! What Bedrock has refused here lately: in force at once, and on its way to
//! control, which gives it back to all proxies as part of the configuration.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::sync::Lesson;
use tokio::{sync::Notify, time::Instant};

use super::feature::Feature;
use crate::index::Index;

/// A lesson that control has not given back by then is forgotten, and learned
/// anew if need be.
const KEPT: Duration = Duration::from_secs(600);

/// Lessons that are kept, and lessons that wait for control. What does not fit
/// is in force for its own request only.
const CAPACITY: usize = 1000;

/// Lessons of one report.
const REPORTED: usize = 100;

#[derive(Debug, Default)]
pub struct Lessons {
    inner: Mutex<Inner>,
    learned: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// By region and model.
    fresh: HashMap<(Box<str>, Box<str>), Vec<Fresh>>,
    unreported: Vec<Lesson>,
}

#[derive(Debug)]
struct Fresh {
    feature: Feature,
    at: Instant,
}

impl Lessons {
    /// Everything that this model in this region is known to refuse.
    pub fn refused(&self, index: &Index, region: &str, model: &str) -> BTreeSet<Feature> {
        let mut refused: BTreeSet<Feature> = index.refused(region, model).cloned().collect();
        let mut inner = self.lock();
        if inner.fresh.is_empty() {
            return refused;
        }
        let place = (region.into(), model.into());
        if let Some(fresh) = inner.fresh.get_mut(&place) {
            // From here on control says how long it is remembered.
            fresh.retain(|it| it.at.elapsed() < KEPT && !refused.contains(&it.feature));
            refused.extend(fresh.iter().map(|it| it.feature.clone()));
            if fresh.is_empty() {
                inner.fresh.remove(&place);
            }
        }
        refused
    }

    /// A configuration came into force. What it holds is control's business from
    /// now on, so that what is deleted there is tried again here.
    pub fn settle(&self, index: &Index) {
        self.lock().fresh.retain(|(region, model), fresh| {
            fresh.retain(|it| {
                index
                    .refused(region, model)
                    .all(|known| *known != it.feature)
            });
            !fresh.is_empty()
        });
    }

    /// Without these the request was accepted.
    pub fn learn(&self, region: &str, model: &str, features: impl IntoIterator<Item = Feature>) {
        let mut inner = self.lock();
        for feature in features {
            if inner.unreported.len() >= CAPACITY || inner.fresh.len() >= CAPACITY {
                return;
            }
            inner.unreported.push(Lesson {
                region: region.to_owned(),
                model: model.to_owned(),
                feature: feature.to_string(),
            });
            let fresh = inner.fresh.entry((region.into(), model.into()));
            let fresh = fresh.or_default();
            fresh.retain(|it| it.feature != feature);
            let at = Instant::now();
            fresh.push(Fresh { feature, at });
            self.learned.notify_one();
        }
    }

    /// Ends when there is something new to report.
    pub async fn learned(&self) {
        self.learned.notified().await;
    }

    /// What control does not know yet, for one report.
    pub fn unreported(&self) -> Vec<Lesson> {
        let inner = self.lock();
        inner.unreported.iter().take(REPORTED).cloned().collect()
    }

    /// The report with these was answered.
    pub fn reported(&self, count: usize) {
        let mut inner = self.lock();
        let count = count.min(inner.unreported.len());
        inner.unreported.drain(..count);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proto::sync::{
        Kind, ModelCapability, Position, Resource, ResourceName, Snapshot, resource::Spec,
    };

    use super::*;
    use crate::index::apply::Staging;

    /// A configuration with one thing that is refused.
    fn index(feature: &str) -> Index {
        let name = ResourceName {
            kind: Kind::ModelCapability.into(),
            id: "c".into(),
        };
        let capability = ModelCapability {
            region: "r".into(),
            model: "m".into(),
            feature: feature.into(),
        };
        let snapshot = Snapshot {
            at: Some(Position::default()),
            resources: vec![Resource {
                name: Some(name),
                version: 1,
                spec: Some(Spec::ModelCapability(capability)),
            }],
            complete: true,
        };
        Staging::default().add(snapshot).unwrap().unwrap()
    }

    fn refused(lessons: &Lessons, region: &str) -> Vec<String> {
        let refused = lessons.refused(&Index::default(), region, "m");
        refused.iter().map(Feature::to_string).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lesson_is_in_force_at_once_where_it_was_learned_and_for_a_while() {
        let lessons = Lessons::default();
        lessons.learn("r", "m", [Feature::beta("a"), Feature::beta("a")]);
        assert_eq!(refused(&lessons, "r"), ["beta:a"]);
        assert!(refused(&lessons, "elsewhere").is_empty());
        tokio::time::advance(KEPT).await;
        assert!(refused(&lessons, "r").is_empty());
    }

    #[tokio::test]
    async fn what_control_gave_back_and_took_away_is_tried_again() {
        let lessons = Lessons::default();
        lessons.learn("r", "m", [Feature::beta("a"), Feature::beta("b")]);
        // Nobody asks between the two configurations.
        lessons.settle(&index("beta:a"));
        lessons.settle(&Index::default());
        assert_eq!(refused(&lessons, "r"), ["beta:b"]);
    }

    #[tokio::test]
    async fn lessons_wait_until_control_has_them() {
        let lessons = Lessons::default();
        lessons.learn(
            "r",
            "m",
            (0..CAPACITY + 5).map(|it| Feature::beta(&it.to_string())),
        );
        let first = lessons.unreported();
        assert_eq!(first.len(), REPORTED);
        assert_eq!(lessons.unreported(), first);
        lessons.reported(REPORTED);
        assert_eq!(lessons.unreported()[0].feature, "beta:100");
        for _ in 0..CAPACITY / REPORTED {
            lessons.reported(REPORTED);
        }
        assert!(lessons.unreported().is_empty());
    }
}
