//! Where a request comes from, and the id by which it is found again.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::{HttpMessage, HttpRequest, dev::ServiceRequest, http::header::HeaderMap};
use uuid::Uuid;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) address: IpAddr,
    pub(super) request_id: Uuid,
}

impl Origin {
    /// Looks at a request for the first time.
    ///
    /// So many load balancers of ours stand before us; each has added the address
    /// that it saw to `x-forwarded-for`, and what stands before theirs could be
    /// anything.
    pub(super) fn note(request: &ServiceRequest, load_balancers: usize) -> Self {
        let origin = Self {
            address: forwarded(request.headers(), load_balancers)
                .or_else(|| request.peer_addr().map(|peer| peer.ip()))
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            request_id: Uuid::now_v7(),
        };
        request.extensions_mut().insert(origin);
        origin
    }

    /// As it was noted.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let noted = request.extensions().get::<Self>().copied();
        noted.unwrap_or(Self {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            request_id: Uuid::nil(),
        })
    }
}

/// What the first of our load balancers saw; none when nothing is believed.
fn forwarded(headers: &HeaderMap, load_balancers: usize) -> Option<IpAddr> {
    let entries: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let first = entries.len().checked_sub(load_balancers)?;
    entries.get(first)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_what_our_own_load_balancers_have_added_is_believed() {
        let check = |values: &[&'static str], load_balancers, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                let name = HeaderName::from_static("x-forwarded-for");
                headers.append(name, HeaderValue::from_static(value));
            }
            let address = forwarded(&headers, load_balancers);
            assert_eq!(
                address,
                expected.map(|text| text.parse().unwrap()),
                "{values:?} {load_balancers}"
            );
        };
        let claimed = ["6.6.6.6, 10.0.0.1", "10.0.0.2"];
        check(&claimed, 0, None);
        check(&claimed, 1, Some("10.0.0.2"));
        check(&claimed, 2, Some("10.0.0.1"));
        check(&claimed, 4, None);
        check(&["nonsense"], 1, None);
        check(&["2001:db8::1"], 1, Some("2001:db8::1"));
        check(&[], 1, None);
    }
}
