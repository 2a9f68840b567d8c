//! Errors name places of the request: those of the upstream's version become the caller's.

use super::notation::Spot;
use super::operation::Operation;
use super::outline::Outline;
use super::parameter::Place;
use super::program::Trace;
use super::sites::{Edit, Sites};
use super::spec::{Direction, Notation, PartSpec, UnknownPlace};
use super::translation::{OperationStep, Translation};
use crate::json::Document;

/// Where the errors of one operation name places.
#[derive(Debug)]
pub(super) struct Errors {
    /// In the errors of the older version, and in those of the newer one.
    pub(super) sites: [Sites<Form>; 2],
    pub(super) unknown: UnknownPlace,
    /// The request's body among the outlines of the older version, and of the newer one.
    pub(super) bodies: [Option<usize>; 2],
}

/// How places are written in one version and in the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) of: PartSpec,
    pub(super) from: Notation,
    pub(super) to: Notation,
}

impl Translation {
    /// An error with its places in the words of the version on the caller's side of a mapping; `None` where it names none.
    /// Counts places that version does not have.
    pub(super) fn error_places(&self, stage: usize, error: &Document, unknown: &mut u32) -> Option<Document> {
        let (step, way) = &self.stages[stage];
        let own = self.operation_step(stage)?;
        let errors = own.message.errors.as_ref()?;
        let (source, target) = match way {
            Direction::Up => (1, 0),
            Direction::Down => (0, 1),
        };
        if errors.sites[source].is_empty() {
            return None;
        }
        let outline = &step.outlines[target];
        let edited = errors.sites[source].edit(error, &mut |form, _, text| {
            let spot = Spot::parse(text, form.of, form.from);
            let (spot, is_known) = match spot {
                Some(spot) => self.spot_back(stage, own, errors.bodies[target].map(|body| (outline, body)), spot),
                None => (Spot::Body(Vec::new()), false),
            };
            *unknown += u32::from(!is_known);
            Ok(match (is_known, errors.unknown) {
                (false, UnknownPlace::Keep) => Edit::Keep,
                (false, UnknownPlace::Drop) => Edit::Remove,
                _ => spot.write(form.of, form.to).map_or(Edit::Remove, Edit::Put),
            })
        });
        edited.ok()
    }

    /// A place of the request on the upstream's side of a mapping, as the caller's side has it, or the nearest around it.
    fn spot_back(
        &self,
        stage: usize,
        own: &OperationStep,
        body: Option<(&Outline, usize)>,
        spot: Spot,
    ) -> (Spot, bool) {
        let (step, way) = &self.stages[stage];
        match spot {
            Spot::Body(tokens) => {
                let mut media = self.caller().media_types();
                let program = media.find_map(|media| own.requests.get(media));
                let (Some(program), Some((outline, body))) = (program, body) else {
                    let is_whole = tokens.is_empty();
                    return (Spot::Body(Vec::new()), is_whole);
                };
                let Trace { mut tokens, is_exact } = step.programs.trace(*program, *way, Trace::exactly(tokens));
                let reach = outline.reach(body, &tokens);
                let is_known = is_exact && reach == tokens.len();
                tokens.truncate(reach);
                (Spot::Body(tokens), is_known)
            }
            Spot::Parameter(place, name) => {
                let program = match place {
                    Place::Path => own.path,
                    Place::Query => own.query,
                    Place::Header => own.header,
                    Place::Cookie => own.cookie,
                };
                let name = if place == Place::Header {
                    name.to_ascii_lowercase()
                } else {
                    name
                };
                let trace = step.programs.trace(program, *way, Trace::exactly(vec![name]));
                let target: &Operation = &self.operations[stage];
                match trace.tokens.into_iter().next() {
                    Some(name) if trace.is_exact && target.parameter(place, &name).is_some() => {
                        (Spot::Parameter(place, name), true)
                    }
                    _ => (Spot::Body(Vec::new()), false),
                }
            }
        }
    }
}
