//! Chains of mappings as one program each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};

use super::{Running, Translation};
use crate::contract::operation::{Media, StatusKey};
use crate::contract::program::{Link, Programs};
use crate::contract::spec::Direction;

/// What a chain is made of: the mapping's position among those of its contract, the program, and the way through it.
type Chain = Vec<(usize, usize, Direction)>;

/// All chains of a contract that were joined, shared by the operations that have them in common; `None` for those that
/// run one mapping after the other.
#[derive(Debug, Default)]
pub(in crate::contract) struct Chains(Mutex<HashMap<Chain, Option<Arc<Programs>>>>);

/// The chains of one translation.
#[derive(Debug, Default)]
pub(in crate::contract) struct Fused(Vec<Joined>);

#[derive(Debug)]
struct Joined {
    /// The programs of the mappings, and the way through each.
    links: Vec<(usize, Direction)>,
    /// What they have become.
    programs: Arc<Programs>,
}

impl Chains {
    /// Joins every chain that bodies of a translation take; `mappings` are the positions of its mappings.
    pub(in crate::contract) fn of(&self, translation: &Translation, mappings: &[usize]) -> Fused {
        let mut fused = Fused::default();
        // What is looked up is asked for by one mapping after the other.
        if translation.stages.len() < 2 || translation.lookups().next().is_some() {
            return fused;
        }
        let fields =
            |media: &Media| HeaderValue::from_str(&media.name).map(|name| HeaderMap::from_iter([(CONTENT_TYPE, name)]));
        for media in translation.caller().body.iter().flat_map(|body| &body.media) {
            if let Some(Ok(programs)) = fields(media).ok().map(|fields| translation.request_programs(&fields)) {
                fused.add(self, &programs, mappings.iter().copied());
            }
        }
        for response in &translation.upstream().responses {
            let status = match response.status {
                StatusKey::Exactly(code) => code,
                StatusKey::Range(hundred) => hundred * 100,
                StatusKey::Default => 500,
            };
            let Ok(status) = StatusCode::from_u16(status) else {
                continue;
            };
            for media in &response.media {
                let Ok(fields) = fields(media) else { continue };
                if let Ok((_, programs)) = translation.response_programs(status, &fields, true) {
                    fused.add(self, &programs, mappings.iter().rev().copied());
                }
            }
        }
        fused
    }

    fn join(&self, chain: Chain, programs: &[Running<'_>]) -> Option<Arc<Programs>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let join = || {
            let links = programs
                .iter()
                .map(|(step, program, way)| (&step.programs, *program, *way));
            Programs::fused(&links.collect::<Vec<Link<'_>>>()).map(Arc::new)
        };
        known.entry(chain).or_insert_with(join).clone()
    }
}

impl Fused {
    fn add(&mut self, chains: &Chains, programs: &[Running<'_>], mappings: impl Iterator<Item = usize>) {
        if self.of(programs).is_some() {
            return;
        }
        let links = programs.iter().map(|(_, program, way)| (*program, *way));
        let chain = mappings
            .zip(links.clone())
            .map(|(mapping, (program, way))| (mapping, program, way));
        if let Some(joined) = chains.join(chain.collect(), programs) {
            self.0.push(Joined {
                links: links.collect(),
                programs: joined,
            });
        }
    }

    /// The one program that a chain has become.
    pub(super) fn of(&self, programs: &[Running<'_>]) -> Option<&Programs> {
        let links = || programs.iter().map(|(_, program, way)| (*program, *way));
        let known = self.0.iter().find(|joined| joined.links.iter().copied().eq(links()));
        known.map(|joined| &*joined.programs)
    }
}
