//! Finds the route of a request: API and version by path, operation by path template and method.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::percent_decode_str;

use super::Route;
use crate::problem::Refusal;

/// A route and the values of its path parameters, percent-decoded, in template order.
pub(crate) struct Matched {
    pub(crate) route: Arc<Route>,
    pub(crate) path_values: Vec<String>,
}

/// All routes of a snapshot.
#[derive(Default)]
pub(super) struct Router {
    paths: matchit::Router<Entry>,
    /// Prefixes of APIs whose path holds the version, to tell an unknown version from an unknown path.
    versions: matchit::Router<String>,
}

/// What stands at one path: several versions only where the path does not say which.
#[derive(Default)]
struct Entry {
    /// Oldest first.
    variants: Vec<Variant>,
}

struct Variant {
    version: Arc<str>,
    /// Takes every method.
    any: Option<Arc<Route>>,
    methods: Vec<(Method, Arc<Route>)>,
    allow: HeaderValue,
}

impl Router {
    /// Adds a route; `method` is `None` where it takes all. The error is a phrase.
    pub(super) fn insert(&mut self, pattern: &str, method: Option<Method>, route: Arc<Route>) -> Result<(), String> {
        let pattern = positional(pattern);
        if self.paths.at(&pattern).is_err() || self.paths.at_mut(&pattern).is_ok_and(|found| !found.params.is_empty()) {
            match self.paths.insert(pattern.clone(), Entry::default()) {
                Ok(()) | Err(matchit::InsertError::Conflict { .. }) => {}
                Err(error) => return Err(format!("path `{pattern}` cannot be routed: {error}")),
            }
        }
        let probe = pattern.clone();
        let found = self
            .paths
            .at_mut(&probe)
            .map_err(|_| format!("path `{pattern}` is hidden by another one"))?;
        found.value.insert(method, route)
    }

    /// Notes which versions an API offers below a path that holds the version.
    pub(super) fn offer_versions(&mut self, pattern: &str, offered: &str) -> Result<(), String> {
        let pattern = positional(pattern);
        for pattern in [format!("{pattern}/{{*rest}}"), pattern] {
            self.versions
                .insert(pattern, offered.to_owned())
                .map_err(|error| format!("its path collides: {error}"))?;
        }
        Ok(())
    }

    pub(super) fn find(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Matched, Refusal> {
        let Ok(found) = self.paths.at(path) else {
            return Err(self.not_found(path));
        };
        let variant = found.value.variant(headers)?;
        let route = variant.route(method).ok_or_else(|| Refusal::MethodNotAllowed {
            method: method.clone(),
            allow: variant.allow.clone(),
        })?;
        let values = found.params.iter().map(|(_, value)| {
            percent_decode_str(value)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| Refusal::BadRequest {
                    detail: "the path is not UTF-8".into(),
                })
        });
        let path_values = if variant.any.is_some() {
            Vec::new()
        } else {
            values.collect::<Result<_, _>>()?
        };
        Ok(Matched {
            route: route.clone(),
            path_values,
        })
    }

    fn not_found(&self, path: &str) -> Refusal {
        let Ok(found) = self.versions.at(path) else {
            return Refusal::NotFound;
        };
        let version = found.params.iter().next().map_or("", |(_, value)| value);
        if found.value.split(", ").any(|offered| offered == version) {
            return Refusal::NotFound;
        }
        Refusal::UnknownVersion {
            version: version.to_owned(),
            offered: found.value.clone(),
        }
    }
}

impl Entry {
    fn insert(&mut self, method: Option<Method>, route: Arc<Route>) -> Result<(), String> {
        let position = self
            .variants
            .iter()
            .position(|variant| variant.version == route.version);
        let position = position.unwrap_or_else(|| {
            let version = route.version.clone();
            let allow = HeaderValue::from_static("");
            self.variants.push(Variant {
                version,
                any: None,
                methods: Vec::new(),
                allow,
            });
            self.variants.len() - 1
        });
        let variant = &mut self.variants[position];
        match method {
            None if variant.any.is_some() || !variant.methods.is_empty() => Err(taken(&route)),
            None => {
                variant.any = Some(route);
                Ok(())
            }
            Some(method) if variant.any.is_some() || variant.methods.iter().any(|(known, _)| *known == method) => {
                Err(format!("{method}: {}", taken(&route)))
            }
            Some(method) => {
                variant.methods.push((method, route));
                variant.allow = allow(&variant.methods);
                Ok(())
            }
        }
    }

    /// The version a caller names by the `API-Version` field, else the oldest one.
    fn variant(&self, headers: &HeaderMap) -> Result<&Variant, Refusal> {
        let oldest = self.variants.first().ok_or(Refusal::NotFound)?;
        if self.variants.len() == 1 && oldest.version.is_empty() {
            return Ok(oldest);
        }
        let Some(wanted) = headers.get("api-version") else {
            return Ok(oldest);
        };
        let wanted = wanted.to_str().unwrap_or("?");
        self.variants
            .iter()
            .find(|variant| &*variant.version == wanted)
            .ok_or_else(|| Refusal::UnknownVersion {
                version: wanted.to_owned(),
                offered: self
                    .variants
                    .iter()
                    .map(|variant| &*variant.version)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

impl Variant {
    fn route(&self, method: &Method) -> Option<&Arc<Route>> {
        let exact = |method: &Method| {
            self.methods
                .iter()
                .find(|(known, _)| known == method)
                .map(|(_, route)| route)
        };
        // HEAD is answered by GET where a contract does not name it (RFC 9110 §9.3.2).
        let head = || {
            if *method == Method::HEAD {
                exact(&Method::GET)
            } else {
                None
            }
        };
        exact(method).or_else(head).or(self.any.as_ref())
    }
}

fn taken(route: &Route) -> String {
    format!(
        "another operation than `{}` of API `{}` stands at the same path",
        route.operation, route.api
    )
}

fn allow(methods: &[(Method, Arc<Route>)]) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
    if names.contains(&"GET") && !names.contains(&"HEAD") {
        names.push("HEAD");
    }
    names.sort_unstable();
    HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Gives parameters names by position, so that two templates may call the same segment differently.
fn positional(pattern: &str) -> String {
    let mut number = 0;
    let segments = pattern.split('/').map(|segment| {
        if segment.starts_with('{') && segment.ends_with('}') && !segment.starts_with("{*") {
            number += 1;
            format!("{{p{number}}}")
        } else {
            segment.to_owned()
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn route(api: &str, operation: &str, version: &str) -> Arc<Route> {
        Arc::new(Route {
            api: api.into(),
            operation: operation.into(),
            version: version.into(),
            template: "".into(),
            steps: Vec::new(),
            snapshot: 1,
            metrics: Metrics::default().route(api, operation, version),
            delivery: None,
        })
    }

    fn orders() -> Router {
        let mut router = Router::default();
        for version in ["v1", "v2"] {
            for (method, path, operation) in [
                (Method::GET, "/orders", "listOrders"),
                (Method::POST, "/orders", "createOrder"),
                (Method::GET, "/orders/{orderNo}", "getOrder"),
                (Method::POST, "/orders/{id}/cancel", "cancelOrder"),
            ] {
                let pattern = format!("/system/erp/{version}{path}");
                router
                    .insert(&pattern, Some(method), route("erp-orders", operation, version))
                    .unwrap();
            }
        }
        router.offer_versions("/system/erp/{version}", "v1, v2").unwrap();
        router.insert("/files", None, route("files", "proxy", "")).unwrap();
        router
            .insert("/files/{*rest}", None, route("files", "proxy", ""))
            .unwrap();
        router
    }

    fn find(method: &Method, path: &str) -> Result<(String, Vec<String>), Refusal> {
        let matched = orders().find(method, path, &HeaderMap::new())?;
        Ok((format!("{:?}", matched.route), matched.path_values))
    }

    #[test]
    fn method_and_template_name_the_operation() {
        assert_eq!(
            find(&Method::POST, "/system/erp/v2/orders").unwrap().0,
            "erp-orders/createOrder v2"
        );
        let (route, values) = find(&Method::GET, "/system/erp/v1/orders/A%20%C3%BC").unwrap();
        assert_eq!(
            (route.as_str(), values),
            ("erp-orders/getOrder v1", vec!["A ü".to_owned()])
        );
        assert_eq!(
            find(&Method::HEAD, "/system/erp/v1/orders").unwrap().0,
            "erp-orders/listOrders v1"
        );
    }

    #[test]
    fn an_unknown_version_is_told_from_an_unknown_path() {
        assert!(matches!(
            find(&Method::GET, "/system/erp/v9/orders"),
            Err(Refusal::UnknownVersion { .. })
        ));
        assert!(matches!(
            find(&Method::GET, "/system/erp/v1/nothing"),
            Err(Refusal::NotFound)
        ));
        assert!(matches!(find(&Method::GET, "/elsewhere"), Err(Refusal::NotFound)));
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let Err(Refusal::MethodNotAllowed { allow, .. }) = find(&Method::DELETE, "/system/erp/v1/orders") else {
            panic!()
        };
        assert_eq!(allow, "GET, HEAD, POST");
    }

    #[test]
    fn an_api_without_a_contract_takes_everything_below_its_path() {
        assert_eq!(
            find(&Method::PATCH, "/files/a/b").unwrap(),
            ("files/proxy ".to_owned(), Vec::new())
        );
        assert_eq!(find(&Method::GET, "/files").unwrap().0, "files/proxy ");
    }

    #[test]
    fn the_same_operation_twice_is_a_mistake() {
        let mut router = orders();
        let error = router
            .insert("/system/erp/v1/orders", Some(Method::GET), route("b", "other", "v1"))
            .unwrap_err();
        assert!(error.contains("same path"), "{error}");
    }

    #[test]
    fn a_version_may_come_by_header_where_the_path_has_none() {
        let mut router = Router::default();
        for version in ["v1", "v2"] {
            router
                .insert("/orders", Some(Method::GET), route("o", "list", version))
                .unwrap();
        }
        let mut headers = HeaderMap::new();
        assert_eq!(
            &*router.find(&Method::GET, "/orders", &headers).unwrap().route.version,
            "v1"
        );
        headers.insert("api-version", HeaderValue::from_static("v2"));
        assert_eq!(
            &*router.find(&Method::GET, "/orders", &headers).unwrap().route.version,
            "v2"
        );
        headers.insert("api-version", HeaderValue::from_static("v3"));
        assert!(matches!(
            router.find(&Method::GET, "/orders", &headers),
            Err(Refusal::UnknownVersion { .. })
        ));
    }
}
