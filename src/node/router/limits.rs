//! How many series tenants may have in a partition.

use std::collections::HashMap;

use pharos_model::TenantId;

/// `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesLimits {
    /// For tenants that are not named.
    pub default: Option<u32>,
    pub tenants: HashMap<TenantId, Option<u32>>,
}

impl SeriesLimits {
    /// The limit as records have it.
    pub(super) fn of(&self, tenant: &TenantId) -> u32 {
        self.tenants.get(tenant).copied().unwrap_or(self.default).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_is_named_has_its_own_limit() {
        let tenant = |id: &str| TenantId::new(id).unwrap();
        let tenants = HashMap::from([(tenant("few"), Some(5)), (tenant("free"), None)]);
        let limits = SeriesLimits { default: Some(10), tenants };
        assert_eq!(["few", "free", "other"].map(|id| limits.of(&tenant(id))), [5, u32::MAX, 10]);
        assert_eq!(SeriesLimits::default().of(&tenant("other")), u32::MAX);
    }
}
