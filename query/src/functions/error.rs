//! Why a function refuses its arguments. The query fails with this text.

/// A function call that cannot be evaluated; texts are upstream's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FunctionError {
    #[error("{modifier} modifier can only be used with: {allowed} - not with {function}")]
    Modifier { modifier: &'static str, allowed: &'static str, function: &'static str },
    #[error("invalid smoothing factor. Expected: 0 < sf < 1, got: {0:.6}")]
    SmoothingFactor(f64),
    #[error("invalid trend factor. Expected: 0 < tf < 1, got: {0:.6}")]
    TrendFactor(f64),
    #[error("invalid regular expression in label_replace(): {0}")]
    Regex(String),
    #[error("invalid destination label name in {function}(): {label}")]
    DestinationLabel { function: &'static str, label: String },
    #[error("invalid source label name in label_join(): {0}")]
    SourceLabel(String),
}
