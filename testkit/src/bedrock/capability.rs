//! What Bedrock takes of what the Anthropic API takes. It differs by region and
//! model and changes with time, so a test can say what it is.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The version of the API that AWS's documentation knows.
const VERSION: &str = "bedrock-2023-05-31";

/// Betas that are accepted unless a test says otherwise.
const BETAS: [&str; 25] = [
    "compact-2026-01-12",
    "computer-use-2024-10-22",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dangerous-tool-use-2026-09-03",
    "dev-full-thinking-2025-05-14",
    "effort-2025-11-24",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "mcp-client-2025-04-04",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-tool-changes-2026-07-01",
    "output-128k-2025-02-19",
    "pdfs-2024-09-25",
    "search-results-2025-06-09",
    "structured-outputs-2025-12-15",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "token-counting-2024-11-01",
    "token-efficient-tools-2025-02-19",
    "tool-examples-2025-10-29",
    "tool-search-tool-2025-10-19",
    "web-search-2025-03-05",
];

/// What is accepted of a request to Claude.
///
/// A field is named by its path without positions in lists:
/// `tools.defer_loading`. `cache_control.scope` is meant wherever it occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Versions of the API in a body's `anthropic_version`.
    pub(super) versions: BTreeSet<String>,
    pub(super) betas: BTreeSet<String>,
    /// Accepted although the simulator would refuse them.
    pub(super) accepted_fields: BTreeSet<String>,
    /// Refused although the simulator would accept them.
    pub(super) refused_fields: BTreeSet<String>,
    pub(super) beta_wording: BetaWording,
    pub(super) field_wording: FieldWording,
}

/// How a beta is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BetaWording {
    /// ``Unexpected value(s) `X` for the `anthropic-beta` header``
    #[default]
    Named,
    /// `invalid beta flag`
    Unnamed,
}

/// How a field is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldWording {
    /// `tools.0.defer_loading: Extra inputs are not permitted`
    #[default]
    Extra,
    /// The same with the kinds of tools and cache marks in between:
    /// `tools.0.custom.defer_loading: Extra inputs are not permitted`
    Tagged,
    /// `#/tools/0: extraneous key [defer_loading] is not permitted`
    Extraneous,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            versions: BTreeSet::from([VERSION.to_owned()]),
            betas: BETAS.map(str::to_owned).into(),
            accepted_fields: BTreeSet::new(),
            refused_fields: BTreeSet::new(),
            beta_wording: BetaWording::default(),
            field_wording: FieldWording::default(),
        }
    }
}

impl Capabilities {
    /// Accepts this `anthropic_version` as well.
    #[must_use]
    pub fn with_version(mut self, version: &str) -> Self {
        self.versions.insert(version.to_owned());
        self
    }

    #[must_use]
    pub fn with_beta(mut self, beta: &str) -> Self {
        self.betas.insert(beta.to_owned());
        self
    }

    #[must_use]
    pub fn without_beta(mut self, beta: &str) -> Self {
        self.betas.remove(beta);
        self
    }

    /// No beta is accepted.
    #[must_use]
    pub fn without_betas(mut self) -> Self {
        self.betas.clear();
        self
    }

    #[must_use]
    pub fn with_field(mut self, path: &str) -> Self {
        self.refused_fields.remove(path);
        self.accepted_fields.insert(path.to_owned());
        self
    }

    #[must_use]
    pub fn without_field(mut self, path: &str) -> Self {
        self.accepted_fields.remove(path);
        self.refused_fields.insert(path.to_owned());
        self
    }

    #[must_use]
    pub fn beta_wording(mut self, wording: BetaWording) -> Self {
        self.beta_wording = wording;
        self
    }

    #[must_use]
    pub fn field_wording(mut self, wording: FieldWording) -> Self {
        self.field_wording = wording;
        self
    }
}

/// What is accepted where. Clones share it, so that a test can change it while
/// the simulator runs.
#[derive(Debug, Clone, Default)]
pub struct Offer(Arc<Mutex<Vec<Place>>>);

#[derive(Debug)]
struct Place {
    /// None: everywhere.
    region: Option<String>,
    /// Text that occurs in the id of the model; none: every model.
    model: Option<String>,
    capabilities: Capabilities,
}

impl Offer {
    /// For every region and model.
    pub fn set(&self, capabilities: Capabilities) {
        let everywhere = Place {
            region: None,
            model: None,
            capabilities,
        };
        *self.places() = vec![everywhere];
    }

    /// For the models whose id contains this; the latest that fits counts.
    pub fn set_for_model(&self, model: &str, capabilities: Capabilities) {
        self.places().push(Place {
            region: None,
            model: Some(model.to_owned()),
            capabilities,
        });
    }

    /// For a region, which is known of signed requests only.
    pub fn set_for_region(&self, region: &str, capabilities: Capabilities) {
        self.places().push(Place {
            region: Some(region.to_owned()),
            model: None,
            capabilities,
        });
    }

    pub(super) fn at(&self, region: Option<&str>, model: &str) -> Capabilities {
        let places = self.places();
        let fits = |place: &&Place| {
            place.region.as_deref().is_none_or(|it| Some(it) == region)
                && place.model.as_deref().is_none_or(|it| model.contains(it))
        };
        let found = places.iter().rev().find(fits);
        found.map_or_else(Capabilities::default, |place| place.capabilities.clone())
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Vec<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_that_fits_counts() {
        let offer = Offer::default();
        assert_eq!(offer.at(None, "m"), Capabilities::default());
        let (plain, other) = (
            Capabilities::default(),
            Capabilities::default().without_betas(),
        );
        offer.set_for_model("opus", other.clone());
        offer.set_for_region("eu-west-1", other.clone());
        let cases = [
            (None, "sonnet", &plain),
            (None, "us.opus-5", &other),
            (Some("us-east-1"), "sonnet", &plain),
            (Some("eu-west-1"), "sonnet", &other),
        ];
        for (region, model, expected) in cases {
            assert_eq!(&offer.at(region, model), expected, "{region:?} {model}");
        }
        offer.set(plain.clone());
        assert_eq!(offer.at(None, "opus"), plain);
    }
}
