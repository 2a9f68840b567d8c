//! Traces, metrics and the access log.

/// W3C trace context of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// 16 bytes, never zero.
    pub trace_id: u128,
    /// Our server span, never zero.
    pub span_id: u64,
    /// The caller's span, where it sent a valid `traceparent`.
    pub parent: Option<u64>,
    /// Decided before any span exists.
    pub sampled: bool,
}
