//! The names of all rules. They stay, as pipelines name them.

/// Rules on operations, parameters and messages.
pub(super) const RULES: &[&str] = &[
    "operation-added",
    "operation-removed",
    "operation-removed-before-sunset",
    "operation-removed-after-sunset",
    "deprecated-operation-removed",
    "operation-id-changed",
    "operation-moved",
    "path-names-changed",
    "operation-deprecated",
    "operation-deprecated-without-sunset",
    "operation-no-longer-deprecated",
    "sunset-set",
    "sunset-moved-earlier",
    "sunset-moved-later",
    "sunset-removed",
    "sunset-too-near",
    "stability-decreased",
    "stability-increased",
    "security-relaxed",
    "security-tightened",
    "security-scope-added",
    "security-scheme-changed",
    "pagination-added",
    "pagination-removed",
    "pagination-style-changed",
    "page-size-default-set",
    "page-size-default-changed",
    "page-size-default-removed",
    "page-size-maximum-set",
    "page-size-maximum-lowered",
    "page-size-maximum-raised",
    "page-size-maximum-removed",
    "request-parameter-added",
    "required-request-parameter-added",
    "request-parameter-removed",
    "request-parameter-moved",
    "request-parameter-became-required",
    "request-parameter-became-optional",
    "request-parameter-style-changed",
    "request-parameter-deprecated",
    "request-body-added",
    "required-request-body-added",
    "request-body-removed",
    "request-body-became-required",
    "request-body-became-optional",
    "response-status-added",
    "response-status-removed",
    "response-failure-status-added",
    "response-failure-status-removed",
    "response-header-added",
    "response-header-removed",
    "required-response-header-removed",
    "response-header-became-required",
    "response-header-became-optional",
    "problem-type-added",
    "problem-type-removed",
    "webhook-added",
    "webhook-removed",
    "webhook-body-added",
    "webhook-body-removed",
    "webhook-body-became-required",
    "webhook-body-became-optional",
];

/// What rules on values begin with.
pub(super) const SUBJECTS: &[&str] = &[
    "request-body",
    "response-body",
    "request-parameter",
    "response-header",
    "webhook-body",
    "webhook-response-body",
];

/// Rules on values, behind what they are about.
pub(super) const VALUE_RULES: &[&str] = &[
    "type-changed",
    "became-nullable",
    "became-not-nullable",
    "became-enum",
    "enum-opened",
    "enum-value-added",
    "enum-value-removed",
    "property-added",
    "required-property-added",
    "property-removed",
    "property-became-required",
    "property-became-optional",
    "reserved-name-used",
    "removed-name-reused",
    "reservation-removed",
    "additional-properties-closed",
    "additional-properties-opened",
    "additional-properties-set",
    "additional-properties-removed",
    "items-set",
    "items-removed",
    "prefix-items-changed",
    "one-of-branch-added",
    "one-of-branch-removed",
    "any-of-branch-added",
    "any-of-branch-removed",
    "default-set",
    "default-changed",
    "default-removed",
    "became-read-only",
    "no-longer-read-only",
    "became-write-only",
    "no-longer-write-only",
    "became-deprecated",
    "no-longer-deprecated",
    "content-encoding-changed",
    "content-media-type-changed",
    "discriminator-set",
    "discriminator-removed",
    "discriminator-changed",
    "discriminator-mapping-added",
    "schema-set",
    "schema-removed",
    "media-type-added",
    "media-type-removed",
    "media-type-generalised",
    "narrowed",
    "widened",
    "undecided",
];

/// Bounds: each is lowered, raised, set or removed.
pub(super) const BOUNDS: &[&str] = &[
    "min-length",
    "max-length",
    "minimum",
    "exclusive-minimum",
    "maximum",
    "exclusive-maximum",
    "min-items",
    "max-items",
    "min-properties",
    "max-properties",
];

/// Keywords that are the same or not: each is set, changed or removed.
pub(super) const KEYWORDS: &[&str] = &[
    "pattern",
    "format",
    "multiple-of",
    "unique-items",
    "not",
    "condition",
    "contains",
    "property-names",
    "pattern-properties",
    "dependencies",
    "unevaluated-items",
    "unevaluated-properties",
];

/// Whether a rule has this name.
pub(super) fn is_known(rule: &str) -> bool {
    let behind = |subject: &&str| rule.strip_prefix(*subject)?.strip_prefix('-').map(is_of_value);
    RULES.contains(&rule) || SUBJECTS.iter().filter_map(behind).any(|is_known| is_known)
}

/// Whether a rule on values has this name, behind what it is about.
fn is_of_value(rule: &str) -> bool {
    let Some((keyword, verb)) = rule.rsplit_once('-') else {
        return VALUE_RULES.contains(&rule);
    };
    VALUE_RULES.contains(&rule)
        || (BOUNDS.contains(&keyword) && ["lowered", "raised", "set", "removed"].contains(&verb))
        || (KEYWORDS.contains(&keyword) && ["set", "changed", "removed"].contains(&verb))
}
