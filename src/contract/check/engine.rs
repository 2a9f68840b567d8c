//! The one place where the check touches the engine that serves requests: bodies and parameters on their way between
//! two versions.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use jsonschema::Validator;

use super::generate::Generator;
use super::sample::Sample;
use super::stand_in::StandIn;
use super::wire;
use crate::contract::openapi::{PARAMETERS, push_token};
use crate::contract::operation::StatusKey;
use crate::contract::parameter::Place;
use crate::contract::translation::Running;
use crate::contract::{Contract, ContractVersion, Operation, Translation, Unmappable};
use crate::json::{Document, Tape};

/// How many path values are tried until one can be translated.
const PATH_TRIES: usize = 200;

/// One kind of body, or the parameters of an operation at one place, on their way between two versions, there and back.
pub(super) struct Lens<'c> {
    /// What it carries: the schema's name, else its first use.
    pub(super) name: String,
    /// Where such bodies are sent: `request of createOrder`, `200 of getOrder`.
    pub(super) uses: Vec<String>,
    /// Positions of the versions it passes, the source first.
    pub(super) versions: Vec<usize>,
    /// Where the body's schema stands in each of them.
    pub(super) schemas: Vec<String>,
    pub(super) source: &'c ContractVersion,
    pub(super) target: &'c ContractVersion,
    pub(super) source_validator: Arc<Validator<Tape>>,
    pub(super) target_validator: Arc<Validator<Tape>>,
    there: Leg,
    back: Leg,
    /// The single steps of a longer way.
    steps: Vec<Leg>,
    stand_in: Arc<StandIn>,
}

/// A body on its way through one translation.
struct Leg {
    translation: Translation,
    part: Part,
    headers: HeaderMap,
}

enum Part {
    /// With path values the translation can carry.
    Request(Vec<String>),
    Response(StatusCode),
    /// Not a body, but the parameters at one place, as an object. With path values the translation can carry.
    Parameters(Place, Vec<String>),
}

/// A request's body, the answer with a status, or a request's parameters.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    Response(u16),
    Parameters(Place),
}

impl Lens<'_> {
    /// Through the production engine, to the target version.
    pub(super) fn map(&self, body: &Document) -> Result<Document, Unmappable> {
        self.stand_in.forget();
        self.there.map(body)
    }

    /// And back to the source version.
    pub(super) fn back(&self, body: &Document) -> Result<Document, Unmappable> {
        self.back.map(body)
    }

    /// Which step of the way refuses a body, and the body as it reached that step.
    pub(super) fn refusing_step(&self, body: &Document) -> Option<(usize, Unmappable, Sample)> {
        let mut body = body.clone();
        for (index, leg) in self.steps.iter().enumerate() {
            match leg.map(&body) {
                Ok(mapped) => body = mapped,
                Err(refused) => return Some((index, refused, Sample::of(body.root()))),
            }
        }
        None
    }

    /// A body after one step of the way.
    pub(super) fn step(&self, leg: usize, body: &Document) -> Option<Document> {
        self.steps.get(leg)?.map(body).ok()
    }

    /// Differs from lens to lens, and stays the same from run to run.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for (version, schema) in self.versions.iter().zip(&self.schemas) {
            hasher.update(&version.to_le_bytes());
            hasher.update(schema.as_bytes());
        }
        u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().unwrap_or_default())
    }

    /// Whether it carries parameters. They go to the upstream and do not come back.
    pub(super) fn is_parameters(&self) -> bool {
        matches!(self.there.part, Part::Parameters(..))
    }

    /// What can be sent at all: not every text can stand in a path or in a header field.
    pub(super) fn can_be_sent(&self, body: &Document) -> bool {
        match &self.there.part {
            Part::Parameters(place, _) => wire::written(self.there.translation.caller(), *place, body).is_some(),
            Part::Request(_) | Part::Response(_) => true,
        }
    }

    /// The programs on the way there, in the order in which they run; none if the way cannot be taken.
    pub(super) fn programs(&self) -> Option<Vec<Running<'_>>> {
        self.there.programs()
    }

    /// The programs on the way back.
    pub(super) fn programs_back(&self) -> Option<Vec<Running<'_>>> {
        self.back.programs()
    }

    /// Whether lists of parameters are written alike in both versions; others may fall apart on their way.
    pub(super) fn writes_lists_alike(&self) -> bool {
        let (caller, upstream) = (self.there.translation.caller(), self.there.translation.upstream());
        match &self.there.part {
            Part::Parameters(Place::Query, _) => caller.separators().eq(upstream.separators()),
            _ => true,
        }
    }

    /// Whether it passes versions in between.
    pub(super) fn is_composed(&self) -> bool {
        self.versions.len() > 2
    }
}

impl Leg {
    fn map(&self, body: &Document) -> Result<Document, Unmappable> {
        let mut headers = self.headers.clone();
        let mapped = match &self.part {
            Part::Request(values) => self.translation.request(values, None, &mut headers, Some(body))?.body,
            Part::Response(status) => self.translation.response(*status, &mut headers, Some(body))?.body,
            Part::Parameters(place, path) => wire::sent(&self.translation, *place, path, body)?,
        };
        mapped.ok_or_else(|| Unmappable::new("the body is left out"))
    }
}

/// All kinds of JSON bodies and parameters that travel from one version to another, each once, however many operations
/// share it.
pub(super) fn lenses<'c>(contract: &'c Contract, from: usize, to: usize) -> Vec<Lens<'c>> {
    let mut found: Vec<Lens<'c>> = Vec::new();
    let way: Vec<usize> = if from < to {
        (from..=to).collect()
    } else {
        (to..=from).rev().collect()
    };
    for operation in &contract.versions[from].operations {
        let mut kinds: Vec<(Kind, String)> = Vec::new();
        for media in operation.body.iter().flat_map(|body| &body.media) {
            kinds.push((Kind::Request, media.name.clone()));
        }
        for response in &operation.responses {
            let code = match response.status {
                StatusKey::Exactly(code) => Some(code),
                StatusKey::Range(hundred) => (0..100)
                    .map(|rest| hundred * 100 + rest)
                    .find(|code| is_left_to(operation, *code, response.status)),
                StatusKey::Default => [500_u16, 400, 404, 422, 200]
                    .into_iter()
                    .chain(400..600)
                    .find(|code| is_left_to(operation, *code, response.status)),
            };
            kinds.extend(code.into_iter().flat_map(|code| {
                response
                    .media
                    .iter()
                    .map(move |media| (Kind::Response(code), media.name.clone()))
            }));
        }
        for place in [Place::Path, Place::Query, Place::Header] {
            kinds.push((Kind::Parameters(place), String::new()));
        }
        for (kind, media) in kinds {
            let Some(lens) = lens(contract, &operation.id, &way, kind, &media) else {
                continue;
            };
            match found.iter_mut().find(|known| known.schemas == lens.schemas) {
                Some(known) => known.uses.extend(lens.uses),
                None => found.push(lens),
            }
        }
    }
    found
}

fn is_left_to(operation: &Operation, code: u16, key: StatusKey) -> bool {
    operation.response(code).is_some_and(|response| response.status == key)
}

fn lens<'c>(contract: &'c Contract, id: &str, way: &[usize], kind: Kind, media: &str) -> Option<Lens<'c>> {
    let (mut legs, mut schemas, mut status) = (Vec::new(), Vec::new(), kind);
    let (from, to) = (*way.first()?, *way.last()?);
    let stand_in = Arc::new(StandIn::new(contract, from, to));
    schemas.push(schema(contract, way[0], id, kind, media)?);
    for pair in way.windows(2) {
        let leg = leg(contract, id, (pair[0], pair[1]), status, media, &stand_in)?;
        status = leg.arrives(status);
        schemas.push(schema(contract, pair[1], id, status, media)?);
        legs.push(leg);
    }
    if let Kind::Parameters(place) = kind {
        // Where no version has any, there is nothing to see.
        let has_any = |version: &ContractVersion| {
            let operation = version.operation(id);
            operation.is_some_and(|operation| operation.parameters.iter().any(|parameter| parameter.place == place))
        };
        if !way.iter().any(|version| has_any(&contract.versions[*version])) {
            return None;
        }
    }
    let there = leg(contract, id, (from, to), kind, media, &stand_in)?;
    // A patch is applied in the caller's version; what it makes is drawn as the document it changes.
    if matches!(kind, Kind::Request) && there.translation.keeps_patch() {
        return None;
    }
    let back = leg(contract, id, (to, from), status, media, &stand_in)?;
    let (source, target) = (&*contract.versions[from], &*contract.versions[to]);
    let used = match kind {
        Kind::Request => format!("request of {id}"),
        Kind::Response(code) => response_label(source.operation(id)?, code),
        Kind::Parameters(place) => format!("{} of {id}", place.as_str()),
    };
    let name = crate::contract::openapi::OpenApi::schema_name(&schemas[0]).map_or_else(|| used.clone(), str::to_owned);
    Some(Lens {
        name,
        uses: vec![used],
        versions: way.to_vec(),
        source_validator: source.document.validator(&schemas[0]).ok()?,
        target_validator: target.document.validator(schemas.last()?).ok()?,
        source,
        target,
        schemas,
        there,
        back,
        steps: legs,
        stand_in,
    })
}

/// What an operation's answer with a status is called: `201 of createOrder`, `default of getOrder`.
pub(super) fn response_label(operation: &Operation, code: u16) -> String {
    match operation.response(code) {
        Some(response) => format!("{} of {}", response.status, operation.id),
        None => format!("{code} of {}", operation.id),
    }
}

/// Where the schema of a body or of parameters stands in a version.
fn schema(contract: &Contract, version: usize, id: &str, kind: Kind, media: &str) -> Option<String> {
    let version = &contract.versions[version];
    let operation = version.operation(id)?;
    let declared = match kind {
        Kind::Request => &operation.body.as_ref()?.media,
        Kind::Response(code) => &operation.response(code)?.media,
        Kind::Parameters(place) => return Some(parameters_at(id, place)),
    };
    let pointer = declared
        .iter()
        .find(|declared| declared.name == media)?
        .schema
        .clone()?;
    version.document.resolve(&pointer)
}

/// Where the parameters of an operation stand as one schema.
fn parameters_at(id: &str, place: Place) -> String {
    let mut pointer = format!("/{PARAMETERS}");
    push_token(&mut pointer, id);
    push_token(&mut pointer, place.as_str());
    pointer
}

impl Leg {
    fn programs(&self) -> Option<Vec<Running<'_>>> {
        match &self.part {
            Part::Request(_) => self.translation.request_programs(&self.headers).ok(),
            Part::Response(status) => {
                let programs = self.translation.response_programs(*status, &self.headers, true);
                programs.ok().map(|(_, programs)| programs)
            }
            Part::Parameters(place, _) => self.translation.parameter_programs(|own| match place {
                Place::Path => own.path,
                Place::Query => own.query,
                Place::Header => own.header,
                Place::Cookie => own.cookie,
            }),
        }
    }

    /// What a body is beyond this leg: an answer may have another status there.
    fn arrives(&self, kind: Kind) -> Kind {
        match (kind, &self.part) {
            (Kind::Response(_), Part::Response(status)) => {
                let mapped = self.translation.response(*status, &mut self.headers.clone(), None);
                mapped.map_or(kind, |mapped| Kind::Response(mapped.status.as_u16()))
            }
            _ => kind,
        }
    }
}

fn leg(
    contract: &Contract,
    id: &str,
    (from, to): (usize, usize),
    kind: Kind,
    media: &str,
    stand_in: &Arc<StandIn>,
) -> Option<Leg> {
    let name = |index: usize| &*contract.versions[index].version;
    let mut headers = HeaderMap::new();
    if !media.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(media).ok()?);
    }
    let knowing = |translation: Translation| translation.knowing(stand_in.clone());
    let (translation, part) = match kind {
        Kind::Request => {
            let translation = knowing(contract.translation(id, name(from), name(to)).ok()?.of_bodies());
            let values = path_values(&contract.versions[from], &translation);
            (translation, Part::Request(values))
        }
        Kind::Parameters(place) => {
            let translation = knowing(contract.translation(id, name(from), name(to)).ok()?);
            let values = path_values(&contract.versions[from], &translation);
            (translation, Part::Parameters(place, values))
        }
        // An answer goes from the upstream to the caller.
        Kind::Response(code) => {
            let translation = knowing(contract.translation(id, name(to), name(from)).ok()?.of_bodies());
            (translation, Part::Response(StatusCode::from_u16(code).ok()?))
        }
    };
    Some(Leg {
        translation,
        part,
        headers,
    })
}

/// Path values that the translation can carry, so that it comes to the body.
fn path_values(version: &ContractVersion, translation: &Translation) -> Vec<String> {
    let operation = translation.caller();
    let pointer = parameters_at(&operation.id, Place::Path);
    let mut generator = Generator::new(&version.document, 0);
    let mut values = Vec::new();
    for _ in 0..PATH_TRIES {
        let drawn = generator.draw(&pointer);
        let text = |name: &String| match drawn.get(name) {
            Some(Sample::Str(text) | Sample::Num(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        values = operation.path_names.iter().map(text).collect();
        if translation.request(&values, None, &mut HeaderMap::new(), None).is_ok() {
            break;
        }
    }
    values
}
