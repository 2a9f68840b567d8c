//! Finds the route of a request: API and version by path, operation by path template and method.

use std::sync::Arc;

use http::Method;
use percent_encoding::percent_decode_str;

use super::{Methods, Route};
use crate::{
    lifecycle::Fields,
    problem::{Refusal, VersionPlace},
};

/// Name of the parameter that stands for all below an API without a contract.
const REST: &str = "rest";

/// A route and the values of its path parameters, percent-decoded, in template order.
pub(crate) struct Matched {
    pub(crate) route: Arc<Route>,
    pub(crate) path_values: Vec<String>,
}

/// All routes of a snapshot.
#[derive(Default)]
pub(super) struct Router {
    paths: matchit::Router<Methods>,
    /// Prefixes of APIs whose path holds the version, to tell an unknown version from an unknown path.
    versions: matchit::Router<Offered>,
}

/// The versions of an API: all, and those that callers are told of.
#[derive(Clone)]
struct Offered {
    known: Vec<Arc<str>>,
    open: Vec<Arc<str>>,
    /// What every answer of a version carries, in the order of `known`.
    fields: Vec<Arc<Fields>>,
}

impl Router {
    /// Adds a route; `method` is `None` where it takes all. The error is a phrase.
    pub(super) fn insert(&mut self, pattern: &str, method: Option<Method>, route: Arc<Route>) -> Result<(), String> {
        let pattern = positional(pattern);
        if self.paths.at(&pattern).is_err() || self.paths.at_mut(&pattern).is_ok_and(|found| !found.params.is_empty()) {
            match self.paths.insert(pattern.clone(), Methods::default()) {
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

    /// Notes which versions an API has below a path that holds the version, with what every answer of each carries, and
    /// which of them are served to all.
    pub(super) fn offer_versions(
        &mut self,
        pattern: &str,
        known: Vec<(Arc<str>, Arc<Fields>)>,
        open: Vec<Arc<str>>,
    ) -> Result<(), String> {
        let (known, fields) = known.into_iter().unzip();
        let offered = Offered { known, open, fields };
        let pattern = positional(pattern);
        for pattern in [format!("{pattern}/{{*{REST}}}"), pattern] {
            self.versions
                .insert(pattern, offered.clone())
                .map_err(|error| format!("its path collides: {error}"))?;
        }
        Ok(())
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Matched, Refusal> {
        let Ok(found) = self.paths.at(path) else {
            return Err(self.not_found(path));
        };
        let route = found.value.find(method)?;
        let values = found.params.iter().filter(|(name, _)| *name != REST).map(|(_, value)| {
            percent_decode_str(value)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| Refusal::BadRequest {
                    detail: "the path is not UTF-8".into(),
                })
        });
        Ok(Matched {
            route: route.clone(),
            path_values: values.collect::<Result<_, _>>()?,
        })
    }

    /// What every answer below a version's path carries, also where no route takes the request.
    pub(super) fn fields(&self, path: &str) -> Option<&Arc<Fields>> {
        let found = self.versions.at(path).ok()?;
        let (_, version) = found.params.iter().next()?;
        let position = found.value.known.iter().position(|known| **known == *version)?;
        found.value.fields.get(position)
    }

    fn not_found(&self, path: &str) -> Refusal {
        let Ok(found) = self.versions.at(path) else {
            return Refusal::NotFound;
        };
        let version = found.params.iter().next().map_or("", |(_, value)| value);
        if found.value.known.iter().any(|known| **known == *version) {
            return Refusal::NotFound;
        }
        Refusal::UnknownVersion {
            version: version.to_owned(),
            place: VersionPlace::Path,
            offered: found.value.open.clone(),
        }
    }
}

/// Gives parameters names by position, so that two templates may call the same segment differently.
pub(super) fn positional(pattern: &str) -> String {
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
    use crate::{lifecycle::Fields, telemetry::Metrics};

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
            fields: Fields::none(),
            is_choice: false,
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
        let offered: Vec<Arc<str>> = ["v1", "v2"].map(Arc::from).to_vec();
        let known = offered
            .iter()
            .map(|version| (version.clone(), Arc::default()))
            .collect();
        router.offer_versions("/system/erp/{version}", known, offered).unwrap();
        router.insert("/files", None, route("files", "proxy", "")).unwrap();
        router
            .insert("/files/{*rest}", None, route("files", "proxy", ""))
            .unwrap();
        router
    }

    fn find(method: &Method, path: &str) -> Result<(String, Vec<String>), Refusal> {
        let matched = orders().find(method, path)?;
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
}
