//! Chains that run as one program make what their mappings make, one after the other.

use super::*;
use crate::contract::check::Generator;
use crate::contract::operation::{Media, StatusKey};
use crate::contract::program::Link;
use crate::contract::translation::Running;

/// Documents that are drawn of each schema.
const CASES: usize = 200;

/// What happened to all documents of all chains.
#[derive(Debug, Default)]
struct Tally {
    chains: usize,
    joined: Vec<String>,
    apart: Vec<String>,
    documents: usize,
    /// Translated by the mappings, but not at once.
    missed: usize,
}

impl Tally {
    fn chain(&mut self, label: &str, version: &ContractVersion, media: &Media, programs: &[Running<'_>]) {
        let Some(schema) = &media.schema else { return };
        let is_busy = |(step, program, _): &&Running<'_>| !step.programs.list[*program].is_identity;
        if programs.iter().filter(is_busy).count() < 2 {
            return;
        }
        self.chains += 1;
        let links: Vec<Link<'_>> = programs
            .iter()
            .map(|(step, program, way)| (&step.programs, *program, *way))
            .collect();
        let Some(fused) = program::Programs::fused(&links) else {
            self.apart.push(label.to_owned());
            return;
        };
        self.joined.push(label.to_owned());
        let mut generator = Generator::new(&version.document, 7);
        for _ in 0..CASES {
            let Some(document) = generator.draw(schema).document() else {
                continue;
            };
            let apart = translation::translate(&document, programs, None, None);
            let joined = fused.run_fused(&document);
            self.documents += 1;
            match (apart, joined) {
                (Ok(apart), Some(joined)) => {
                    assert_eq!(joined.text(), apart.text(), "{label}\n{}", document.text());
                    assert!(joined == apart, "{label}: the nodes of {}", joined.text());
                }
                (Ok(_), None) => self.missed += 1,
                (Err(_), None) => {}
                (Err(fault), Some(joined)) => {
                    panic!("{label}: {fault}, but made {}\n{}", joined.text(), document.text())
                }
            }
        }
    }

    /// All bodies of all operations on a way through versions.
    fn contract(&mut self, contract: &Contract, way: &[usize]) {
        let (first, last) = (&contract.versions[way[0]], &contract.versions[way[way.len() - 1]]);
        for operation in &first.operations {
            let legs: Option<Vec<Translation>> = way
                .windows(2)
                .map(|pair| {
                    let [from, to] = [pair[0], pair[1]].map(|index| &*contract.versions[index].version);
                    contract.translation(&operation.id, from, to).ok()
                })
                .collect();
            let Some(legs) = legs else { continue };
            let label = format!("{} {} {way:?}", contract.name, operation.id);
            for media in operation.body.iter().flat_map(|body| &body.media) {
                let fields = headers(Box::leak(media.name.clone().into_boxed_str()));
                let programs: Result<Vec<_>, _> = legs.iter().map(|leg| leg.request_programs(&fields)).collect();
                if let Ok(programs) = programs {
                    self.chain(&label, first, media, &programs.concat());
                }
            }
            let Some(upstream) = last.operation(&operation.id) else {
                continue;
            };
            for response in &upstream.responses {
                let StatusKey::Exactly(code) = response.status else {
                    continue;
                };
                for media in &response.media {
                    let fields = headers(Box::leak(media.name.clone().into_boxed_str()));
                    let mut status = StatusCode::from_u16(code).unwrap();
                    let mut programs = Vec::new();
                    for leg in legs.iter().rev() {
                        let Ok((next, own)) = leg.response_programs(status, &fields, true) else {
                            break;
                        };
                        status = StatusCode::from_u16(next).unwrap();
                        programs.extend(own);
                    }
                    if programs.len() == legs.len() {
                        self.chain(&format!("{label} {code}"), last, media, &programs);
                    }
                }
            }
        }
    }
}

#[test]
fn demo_chains_run_as_one_program_and_make_the_same() {
    let mut tally = Tally::default();
    let orders = orders();
    tally.contract(&orders, &[0, 1, 2]);
    tally.contract(&orders, &[2, 1, 0]);
    assert_eq!(tally.apart, Vec::<String>::new());
    assert!(tally.documents > 1_000);
    assert_eq!(tally.missed, 0);
}

#[test]
fn there_and_back_is_the_same_at_once() {
    let mut tally = Tally::default();
    for name in ["sales-order", "shipment", "payment", "catalogue", "inventory", "case"] {
        let files = folder(&Path::new("tests/documents/pairs").join(name));
        let contract = Contract::load(name, &files).unwrap();
        tally.contract(&contract, &[0, 1, 0]);
        tally.contract(&contract, &[1, 0, 1]);
    }
    let orders = orders();
    for way in [
        &[0, 1, 0][..],
        &[1, 2, 1],
        &[2, 1, 0, 1],
        &[0, 1, 2, 1, 0],
        &[2, 1, 0, 1, 2],
    ] {
        tally.contract(&orders, way);
    }
    assert!(tally.joined.len() >= 40);
    assert!(tally.documents > 5_000);
}
