//! `/admin/proxies`: whether a change is in force everywhere.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{State, error::Error, query::Query};
use crate::{
    changes::Position,
    fleet::{self, Fleet},
    store::{changes, circuits, proxies},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListProxies {
    /// What `summary` is about: the `x-config-revision` of a change; the head when not
    /// given.
    revision: Option<i64>,
}

/// All proxies that have reported lately.
#[derive(Debug, Serialize, ToSchema)]
struct ProxyList {
    /// The newest committed revision, and the epoch it belongs to.
    head: HeadPosition,
    summary: Summary,
    items: Vec<Proxy>,
}

#[derive(Debug, Serialize, ToSchema)]
struct HeadPosition {
    epoch: Uuid,
    revision: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Summary {
    /// Proxies that reported within 45 s.
    connected: usize,
    /// Connected proxies that have applied the revision.
    in_force: usize,
    /// The same as a sentence.
    #[schema(example = "revision 17 in force on 2 of 2")]
    text: String,
}

/// One proxy process and what it reported last.
#[derive(Debug, Serialize, ToSchema)]
struct Proxy {
    instance_id: Uuid,
    version: String,
    started_at: Option<DateTime<Utc>>,
    /// Where its report came from.
    address: String,
    /// Null: it has applied nothing yet.
    applied_epoch: Option<Uuid>,
    applied_revision: Option<i64>,
    is_connected: bool,
    /// It has not applied the head.
    is_behind: bool,
    /// Revisions between it and the head; null when they cannot be compared.
    revisions_behind: Option<i64>,
    /// Resources that it could not make sense of.
    #[schema(value_type = Vec<Object>)]
    rejected: serde_json::Value,
    /// Usage events that wait in it.
    usage_pending: i64,
    /// Usage events that it had to give up.
    usage_dropped: i64,
    active_streams: i64,
    /// Access keys whose circuit is not closed on it.
    circuits: i64,
    reported_at: DateTime<Utc>,
}

/// List proxies
///
/// And on how many of them a change is in force.
#[utoipa::path(
    operation_id = "list_proxies",
    tag = "proxies",
    params(ListProxies),
    responses((status = 200, description = "All proxies", body = ProxyList))
)]
#[get("/proxies")]
pub(super) async fn list(
    state: web::Data<State>,
    Query(query): Query<ListProxies>,
) -> Result<HttpResponse, Error> {
    let mut connection = state.store.connection().await?;
    // The head first: a proxy that reports in between is ahead, not behind.
    let head = changes::head(&mut connection).await?.position();
    let proxies = proxies::list(&mut connection).await?;
    let circuits = circuits::counts(&mut connection).await?;
    let now = Utc::now();
    let wanted = Position {
        revision: query.revision.unwrap_or(head.revision),
        ..head
    };
    let fleet = Fleet::of(&proxies, wanted, now);
    let list = ProxyList {
        head: HeadPosition {
            epoch: head.epoch,
            revision: head.revision,
        },
        summary: Summary {
            connected: fleet.connected,
            in_force: fleet.in_force,
            text: format!(
                "revision {} in force on {} of {}",
                wanted.revision, fleet.in_force, fleet.connected
            ),
        },
        items: proxies
            .into_iter()
            .map(|proxy| {
                let circuits = circuits.get(&proxy.instance_id).copied().unwrap_or(0);
                Proxy::new(proxy, circuits, head, now)
            })
            .collect(),
    };
    Ok(HttpResponse::Ok().json(list))
}

impl Proxy {
    fn new(proxy: proxies::Proxy, circuits: i64, head: Position, now: DateTime<Utc>) -> Self {
        let is_connected = fleet::is_connected(&proxy, now);
        let revisions_behind = fleet::revisions_behind(&proxy, head);
        Self {
            instance_id: proxy.instance_id,
            version: proxy.version,
            started_at: proxy.started_at,
            address: proxy.address,
            applied_epoch: proxy.applied_epoch,
            applied_revision: proxy.applied_revision,
            is_connected,
            is_behind: revisions_behind != Some(0),
            revisions_behind,
            rejected: proxy.rejected,
            usage_pending: proxy.usage_pending,
            usage_dropped: proxy.usage_dropped,
            active_streams: proxy.active_streams,
            circuits,
            reported_at: proxy.reported_at,
        }
    }
}
