//! The connections to Bedrock, whichever of its APIs they are for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Uri, uri::Authority};

use crate::{
    settings::Limits,
    tasks::Tasks,
    upstream::{Upstream, connect::Connector},
};

/// One upstream for each host that is asked.
#[derive(Debug)]
pub struct Origins {
    pub limits: Limits,
    tasks: Tasks,
    /// One for each region that a credential names: few.
    upstreams: Mutex<HashMap<Authority, Arc<Upstream>>>,
}

impl Origins {
    pub fn new(limits: &Limits, tasks: &Tasks) -> Self {
        Self {
            limits: limits.clone(),
            tasks: tasks.clone(),
            upstreams: Mutex::default(),
        }
    }

    /// The upstream at this URI's host; none when it has no host.
    pub fn upstream(&self, uri: &Uri) -> Option<Arc<Upstream>> {
        let authority = uri.authority()?;
        let upstreams = self.upstreams.lock();
        let mut upstreams = upstreams.unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = upstreams.get(authority) {
            return Some(upstream.clone());
        }
        let connector = Connector::to(uri.clone());
        let upstream = Arc::new(Upstream::new(connector, self.limits.clone(), &self.tasks));
        upstreams.insert(authority.clone(), upstream.clone());
        Some(upstream)
    }
}
