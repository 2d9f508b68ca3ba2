//! Who may ask: the `Host` and `Origin` of a request against foreign web pages, and API keys.

use super::error::ApiError;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use std::hint::black_box;
use std::net::IpAddr;

/// The digests of API keys. Without any, everybody may ask.
#[derive(Clone, Default)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// These keys.
    pub fn new(keys: Vec<String>) -> Keys {
        Keys(keys.into_iter().map(|key| Sha256::digest(key).into()).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them. How long the answer takes says nothing about them.
    fn contains(&self, key: &[u8]) -> bool {
        let found: [u8; 32] = Sha256::digest(key).into();
        let same = |wanted: &[u8; 32]| {
            let differ = wanted.iter().zip(&found).fold(0, |differ, (a, b)| black_box(differ | (a ^ b)));
            differ == 0
        };
        self.0.iter().fold(false, |known, wanted| black_box(known | same(wanted)))
    }

    /// Refuses a request without one of the keys as bearer token.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let value = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let key = match value.split_at_checked(7) {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => key.trim_ascii(),
            _ => &[],
        };
        if self.is_empty() || self.contains(key) {
            return Ok(());
        }
        let text = "wrong or missing API key; expected the header Authorization: Bearer KEY";
        Err(ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", text))
    }
}

/// Refuses requests that come from web pages of others. `loopback`: the server listens on this machine only, so that
/// nobody reaches it under another name, unless that name was made to point here.
pub fn check_origin(headers: &HeaderMap, loopback: bool) -> Result<(), ApiError> {
    let refuse = |text: &str| Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text));
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or(""));
    if loopback && host.is_some_and(|host| !is_local(host)) {
        return refuse("the Host of the request is not this machine; use http://127.0.0.1 or http://localhost");
    }
    // browsers name the page that asks
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("").split_once("://").map(|(_, authority)| authority);
    match origin.is_some() && origin == host {
        true => Ok(()),
        false => refuse("web pages of other servers may not ask this one"),
    }
}

fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn keys_are_compared_as_a_whole() {
        let keys = Keys::new(vec!["secret".into(), "other".into()]);
        let ok = |value: &str| keys.check(&headers(&[("authorization", value)])).is_ok();
        assert!(ok("Bearer secret") && ok("bearer other") && ok("Bearer  secret "));
        for bad in ["", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret"] {
            assert!(!ok(bad), "{bad}");
        }
        assert!(keys.check(&headers(&[])).is_err() && Keys::default().check(&headers(&[])).is_ok());
    }

    #[test]
    fn only_local_names_reach_a_local_server() {
        let ok = |host: &str, loopback| check_origin(&headers(&[("host", host)]), loopback).is_ok();
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:80", "[::1]"] {
            assert!(ok(host, true), "{host}");
        }
        for host in ["example.com", "127.0.0.1.example.com", "localhost.example.com:80", "10.0.0.1", "", "a b", "[::2]"]
        {
            assert!(!ok(host, true), "{host}");
        }
        assert!(ok("example.com", false) && check_origin(&headers(&[]), true).is_ok());
    }

    #[test]
    fn pages_of_others_are_refused() {
        let ok = |origin: &str| check_origin(&headers(&[("host", "localhost:80"), ("origin", origin)]), false).is_ok();
        assert!(ok("http://localhost:80"));
        for origin in ["http://localhost:81", "https://example.com", "null", ""] {
            assert!(!ok(origin), "{origin}");
        }
    }
}
