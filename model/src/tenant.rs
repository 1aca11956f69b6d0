//! Tenants: isolated sets of series.

use std::fmt;
use std::sync::Arc;

/// Longest tenant id in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 64;
/// The tenant of a request that names none.
pub const ANONYMOUS: &str = "anonymous";

/// Why a string is no tenant id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tenant id `{0}` does not match [a-zA-Z0-9_-]{{1,64}}")]
pub struct TenantIdError(String);

/// A checked tenant id, cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    pub fn new(id: &str) -> Result<Self, TenantIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if id.is_empty() || id.len() > TENANT_ID_BYTES_MAX || !id.bytes().all(allowed) {
            return Err(TenantIdError(id.chars().take(TENANT_ID_BYTES_MAX).collect()));
        }
        Ok(Self(Arc::from(id)))
    }

    pub fn anonymous() -> Self {
        Self(Arc::from(ANONYMOUS))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self::anonymous()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked() {
        assert!(TenantId::new("team-a_1").is_ok());
        for bad in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(TenantId::new(bad).is_err(), "{bad}");
        }
    }
}
